//! What cannot go together is said before the work.

use firebox_checkpoint::PackedLayout;
use firebox_tensor::packed::PackedFormat;

use crate::cli::args::{QuantizeArgs, gguf_formats};
use crate::cli::exit::UserError;
use crate::cli::save;

/// All checks of the arguments.
pub(super) fn all(args: &QuantizeArgs, packed_layout: PackedLayout) -> anyhow::Result<()> {
    gguf(args, packed_layout)?;
    layout(args, packed_layout)?;
    method(args)
}

/// A GGUF file has no place for some formats.
fn gguf(args: &QuantizeArgs, layout: PackedLayout) -> anyhow::Result<()> {
    if !save::is_gguf(&args.out) {
        return Ok(());
    }
    let mut formats = args.formats().into_iter();
    let found = match formats.find(|format| format.ggml_block_bytes().is_none()) {
        Some(format) => format.to_string(),
        None if layout != PackedLayout::Firebox => format!("--layout {layout}"),
        None => return Ok(()),
    };
    let known: Vec<&str> = gguf_formats().map(PackedFormat::name).collect();
    Err(UserError(format!(
        "--out `{}`: expected a format that GGUF has ({}), found {found} (hint: a folder holds every format)",
        args.out.display(),
        known.join(", ")
    ))
    .into())
}

/// Options that would do nothing beside others.
fn method(args: &QuantizeArgs) -> anyhow::Result<()> {
    let calibration = &args.calibration;
    let text = if calibration.scaling.is_some() && super::method(args).is_none() {
        "--scaling: expected a method that looks at calibration text, found none (hint: `--method \
         importance` or `--method gptq`)"
            .to_owned()
    } else if !(0.0..=1.0).contains(&calibration.smooth_strength) {
        let found = calibration.smooth_strength;
        format!(
            "--smooth-strength: expected 0 to 1, found `{found}` (hint: 0.5 shares the unevenness)"
        )
    } else {
        return Ok(());
    };
    Err(UserError(text).into())
}

/// A layout has no place for some formats.
fn layout(args: &QuantizeArgs, layout: PackedLayout) -> anyhow::Result<()> {
    let known = layout.formats();
    let formats = args.formats();
    if let Some(found) = formats.iter().find(|format| !known.contains(format)) {
        let known: Vec<&str> = known.into_iter().map(PackedFormat::name).collect();
        return Err(UserError(format!(
            "--layout {layout}: expected a format that it has ({}), found {found} (hint: `--layout firebox` holds every \
             format)",
            known.join(", ")
        ))
        .into());
    }
    match formats.iter().find(|format| layout.has_one_format() && **format != formats[0]) {
        Some(found) => Err(UserError(format!(
            "--layout {layout}: expected one format for all packed weights, found {} and {found} (hint: \
             `--tensor PATTERN=keep` leaves weights as they are)",
            formats[0]
        ))
        .into()),
        None => Ok(()),
    }
}

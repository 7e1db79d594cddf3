use super::*;
use crate::quantize::quantize_checkpoint;
use crate::testing::{decoder, saved, text};
use firebox_model::Llama;

fn texts() -> Vec<Vec<u32>> {
    (0..8).map(|seed| text(seed, 64)).collect()
}

fn calibration(method: Method) -> Calibration {
    Calibration {
        method,
        scaling: None,
        texts: texts(),
        device: Device::flex(),
        journal: None,
    }
}

/// How far the last hidden states of a packed model are from those of the model.
fn distance(model: &Llama, out: &Path) -> f32 {
    let packed = Llama::load(&Checkpoint::open(out).unwrap(), &Device::flex()).unwrap();
    let ids = model.ids_tensor(&texts()).unwrap();
    let difference = model.hidden(ids.clone()) - packed.hidden(ids);
    difference.powi_scalar(2).sum().into_scalar()
}

#[test]
fn calibrated_models_are_nearer_to_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = decoder(true);
    let checkpoint = saved(&model, &dir.path().join("model"));
    let config = QuantConfig::projections(PackedFormat::Q4_0);
    let plain = dir.path().join("plain");
    quantize_checkpoint(&checkpoint, &config, &plain, |_, _| ()).unwrap();
    let mut last = distance(&model, &plain);
    let methods = [Method::Importance, Method::Gptq(GptqConfig::default())];
    for (i, method) in methods.into_iter().enumerate() {
        let out = dir.path().join(i.to_string());
        let mut calls = Vec::new();
        let on_layer = |done, all| calls.push((done, all));
        let report =
            quantize_calibrated(&checkpoint, &config, &calibration(method), &out, on_layer)
                .unwrap();
        assert_eq!(calls, [(1, 2), (2, 2)]);
        assert_eq!(report.tensors.len(), 14);
        assert!(
            report
                .tensors
                .iter()
                .all(|tensor| tensor.output_error.is_some_and(|e| e > 0.0 && e < 0.2))
        );
        let found = distance(&model, &out);
        assert!(found < last, "{method:?}: {found} and {last}");
        last = found;
    }
}

#[test]
fn the_same_texts_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&decoder(false), &dir.path().join("model"));
    let config = QuantConfig::projections(PackedFormat::Nf4);
    let calibration = calibration(Method::Gptq(GptqConfig {
        act_order: true,
        ..GptqConfig::default()
    }));
    let write = |name: &str, threads| {
        let out = dir.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| quantize_calibrated(&checkpoint, &config, &calibration, &out, |_, _| ()))
            .unwrap();
        std::fs::read(out.join("model.safetensors")).unwrap()
    };
    assert_eq!(write("a", 1), write("b", 3));
}

#[test]
fn what_cannot_be_calibrated_is_an_error_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&decoder(true), &dir.path().join("model"));
    let out = dir.path().join("out");
    let run = |format, calibration: &Calibration| {
        let config = QuantConfig::projections(format);
        quantize_calibrated(&checkpoint, &config, calibration, &out, |_, _| ())
            .unwrap_err()
            .to_string()
    };
    let mut few = calibration(Method::Importance);
    few.texts.truncate(1);
    let error = run(PackedFormat::Q4_0, &few);
    assert!(
        error.contains("at least 128") && error.contains("found 64"),
        "{error}"
    );
    let all = calibration(Method::Gptq(GptqConfig::default()));
    let error = run(PackedFormat::Q4K, &all);
    assert!(error.contains("q4_k"), "{error}");
    let mut foreign = all.clone();
    foreign.texts[3][5] = 99;
    let error = run(PackedFormat::Q4_0, &foreign);
    assert!(error.contains("token id 99"), "{error}");
    let undamped = Method::Gptq(GptqConfig {
        damping: 0.0,
        ..GptqConfig::default()
    });
    let mut same = calibration(undamped);
    same.texts = vec![vec![3; 128]];
    let error = run(PackedFormat::Q4_0, &same);
    assert!(error.contains("damping 0"), "{error}");
    assert!(!out.exists());
}

#[test]
fn an_interrupted_run_goes_on_after_its_last_layer() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&decoder(true), &dir.path().join("model"));
    let keep = "*.o_proj.weight=keep".parse().unwrap();
    let config = QuantConfig::projections(PackedFormat::Nf4DoubleQuant).with_rules(vec![keep]);
    let mut calibration = calibration(Method::Gptq(GptqConfig::default()));
    let write = |name: &str, calibration: &Calibration, on_layer: &mut dyn FnMut(usize, usize)| {
        let out = dir.path().join(name);
        let report =
            quantize_calibrated(&checkpoint, &config, calibration, &out, on_layer).unwrap();
        (
            std::fs::read(out.join("model.safetensors")).unwrap(),
            report,
        )
    };
    let expected = write("whole", &calibration, &mut |_, _| ());
    let journal = dir.path().join("journal");
    calibration.journal = Some(journal.clone());
    let interrupt = || {
        let interrupted = std::panic::AssertUnwindSafe(|| {
            write("out", &calibration, &mut |done, _| {
                assert!(done < 1, "interrupted")
            });
        });
        assert!(std::panic::catch_unwind(interrupted).is_err());
        assert!(journal.join("states-0.safetensors").is_file());
    };
    interrupt();
    // A layer that is not finished when the process dies is done anew.
    std::fs::write(journal.join("layer-1.tmp"), [1, 2]).unwrap();
    let mut layers = Vec::new();
    let again = write("out", &calibration, &mut |done, _| layers.push(done));
    assert_eq!((again, layers), (expected, vec![1, 2]));
    assert!(!journal.exists());

    // Another run's journal is not gone on with; a damaged one is an error.
    interrupt();
    let other = Calibration {
        method: Method::Importance,
        ..calibration.clone()
    };
    write("other", &other, &mut |_, _| ());
    assert!(!journal.exists());
    interrupt();
    std::fs::write(journal.join("layer-0.json"), "[").unwrap();
    let error = quantize_calibrated(
        &checkpoint,
        &config,
        &calibration,
        &dir.path().join("x"),
        |_, _| (),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("delete the folder"), "{error}");
}

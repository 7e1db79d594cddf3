//! Where and how it ran: what is needed to run it again.

use super::escape::escape;
use crate::loop_report::{LoopReport, count, size};

/// Environment, seed and settings.
pub(crate) fn section(report: &LoopReport) -> String {
    let environment = &report.environment;
    let memory = match environment.memory_bytes {
        0 => String::new(),
        bytes => size(bytes),
    };
    let versions: Vec<String> = environment
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let rows: String = [
        ("Device", environment.device.clone()),
        ("Vector instructions", environment.simd.clone()),
        ("Threads", count(environment.n_threads as u64)),
        ("Memory", memory),
        ("System", environment.platform.clone()),
        ("Versions", versions.join(", ")),
        ("Seed", report.seed.to_string()),
    ]
    .iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value)))
    .collect();
    let config = format!("{:#}", report.config);
    format!(
        r#"<section>
<h2>To run it again</h2>
<p>Every random choice follows from the seed: the same settings give the same numbers on the same kind of processor, with any number of threads. Times and memory are this machine's.</p>
<dl class="setup">
{rows}</dl>
<details><summary>All settings</summary>
<pre><code>{config}</code></pre>
</details>
</section>
<footer><p>Sizes are decimal: 1 MB is a million bytes. Written by firebox {version}; the same figures are in <code>report.json</code> beside this page.</p></footer>
"#,
        config = escape(&config),
        version = env!("CARGO_PKG_VERSION"),
    )
}

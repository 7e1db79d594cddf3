use super::*;
use crate::DecontaminateConfig;

#[test]
fn contaminated_documents_are_counted_by_set_and_the_first_are_shown() {
    let mut index = EvaluationIndex::new(&DecontaminateConfig::default()).unwrap();
    let (first, second) = ("a b c d e f g h i j k l m", "n o p q r s t u v w x y z");
    index.add("first.jsonl", 1, first).unwrap();
    index.add("second.jsonl", 1, second).unwrap();
    let mut report = DecontaminateReport::new(&index);
    for document in 0..40 {
        let text = match document % 4 {
            0 => first,
            1 => second,
            _ => "nothing of them",
        };
        report.push(document, index.find(text).as_ref());
    }
    assert_eq!(
        (report.n_documents, report.n_contaminated, report.n_n_grams),
        (40, 20, 2)
    );
    let of_second = &report.sets[std::path::Path::new("second.jsonl")];
    assert_eq!(
        (of_second.n_documents, of_second.shown.len()),
        (10, N_SHOWN)
    );
    assert_eq!(
        (
            of_second.shown[0].document,
            of_second.shown[0].n_gram.as_str()
        ),
        (1, second)
    );
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<DecontaminateReport>(&json).unwrap(),
        report
    );
}

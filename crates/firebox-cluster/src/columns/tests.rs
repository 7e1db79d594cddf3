use std::borrow::Cow;

use firebox_data::Document;
use proptest::prelude::*;

use super::{ColumnBuilder, DocumentRows, doc_id, place_of};

prop_compose! {
    fn texts()(
        id in prop::option::of(".{0,20}"),
        title in prop::option::of(".{0,20}"),
        text in ".{0,60}",
        year in prop::option::of(any::<u16>()),
        mesh_terms in prop::collection::vec(".{0,12}", 0..4),
        source in prop::option::of(".{0,40}"),
    ) -> (Document<'static>, Option<String>) {
        let document = Document {
            number: 0,
            id: id.map(Cow::Owned),
            title: title.map(Cow::Owned),
            text: Cow::Owned(text),
            year,
            mesh_terms: mesh_terms.into_iter().map(Cow::Owned).collect(),
            source: None,
        };
        (document, source)
    }
}

proptest! {
    #[test]
    fn documents_come_back_from_columns(rows in prop::collection::vec(texts(), 0..20)) {
        let mut builder = ColumnBuilder::new(7);
        let mut documents = Vec::new();
        for (place, (document, source)) in rows.iter().enumerate() {
            let document = Document {
                number: 1 + place as u64,
                source: source.as_deref(),
                ..document.clone()
            };
            builder.push(&document);
            documents.push(document);
        }
        let batch = builder.finish().unwrap();
        let rows = DocumentRows::new(&batch).unwrap();
        for (row, document) in documents.iter().enumerate() {
            prop_assert_eq!(&rows.document(row), document);
            prop_assert_eq!(rows.file(row), 7);
        }
        prop_assert_eq!(builder.n_rows(), 0);
    }

    #[test]
    fn numbers_are_in_the_order_of_the_input(
        a in (any::<u16>(), 1_u64..1 << 40),
        b in (any::<u16>(), 1_u64..1 << 40),
    ) {
        let number = |(file, place): (u16, u64)| doc_id(u32::from(file), place);
        prop_assert_eq!(number(a).cmp(&number(b)), a.cmp(&b));
        prop_assert_eq!(place_of(number(a)), a.1);
    }
}

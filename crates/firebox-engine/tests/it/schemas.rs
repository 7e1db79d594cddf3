//! Answers to random JSON schemas.

use firebox_engine::{EngineConfig, Grammar, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{answer, engine, greedy, ids};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"const": "yes \"and\" no"})),
        (-50_i64..50, 0_i64..100).prop_map(
            |(min, range)| json!({"type": "integer", "minimum": min, "maximum": min + range})
        ),
        Just(json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1})),
        (0_usize..4, 0_usize..6).prop_map(
            |(min, more)| json!({"type": "string", "minLength": min, "maxLength": min + more})
        ),
        Just(json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,3}$"})),
        Just(json!({"type": "string", "format": "date"})),
        prop::collection::vec("[a-zé水]{1,5}", 1..4).prop_map(|texts| json!({"enum": texts})),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0_usize..3, 0_usize..3).prop_map(|(items, min, more)| {
                json!({"type": "array", "items": items, "minItems": min, "maxItems": min + more})
            }),
            (
                prop::collection::btree_map("[a-z]{1,4}", inner.clone(), 1..4),
                any::<u8>()
            )
                .prop_map(|(properties, mask)| {
                    let names = properties.keys().enumerate();
                    let required: Vec<&String> = names
                        .filter(|(i, _)| mask >> i & 1 == 1)
                        .map(|(_, name)| name)
                        .collect();
                    json!({
                        "type": "object", "properties": properties, "required": required,
                        "additionalProperties": false,
                    })
                }),
            prop::collection::vec(inner, 1..3).prop_map(|choices| json!({"anyOf": choices})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_finished_answer_is_what_its_schema_allows(
        schemas in prop::collection::vec(schema(), 30), seed: u64,
    ) {
        let engine = engine(EngineConfig::default());
        let ask = |schema: &Value| {
            let mut generate = greedy(300);
            generate.sampling.temperature = 1.0;
            generate.sampling.seed = seed;
            let request = Request {
                grammar: Some(Grammar::JsonSchema(schema.clone())),
                ..Request::new(ids(seed, 10), generate)
            };
            engine.generate(request).unwrap()
        };
        let asked: Vec<_> = schemas.iter().map(ask).collect();
        let mut n_finished = 0;
        for (schema, events) in schemas.iter().zip(asked) {
            let found = answer(events);
            match found.reason.as_str() {
                "Length" => continue,
                "Stop" => n_finished += 1,
                other => prop_assert!(false, "{other}: {schema}"),
            }
            let json: Value = serde_json::from_str(&found.text)
                .map_err(|error| TestCaseError::fail(format!("{error}: {:?} for {schema}", found.text)))?;
            prop_assert!(jsonschema::is_valid(schema, &json), "{json} for {schema}");
        }
        // Long texts are cut by the limit of tokens; most are not.
        prop_assert!(n_finished >= 10, "{n_finished} of 30");
    }
}

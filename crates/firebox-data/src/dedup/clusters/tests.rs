use super::*;

/// 1,000 documents; those whose number ends in 0 to 4 are one cluster each ten.
fn clusters() -> Clusters {
    let roots = (0..1000).map(|i| if i % 10 < 5 { i / 10 * 10 } else { i });
    Clusters::new(roots.collect(), &[], 150, 0)
}

#[test]
fn counts_agree_with_each_other() {
    let clusters = clusters();
    assert_eq!((clusters.n_documents(), clusters.n_kept()), (1000, 600));
    assert_eq!(clusters.sizes(), BTreeMap::from([(5, 100)]));
    assert!(
        clusters
            .dropped()
            .all(|dropped| clusters.is_dropped(dropped.document))
    );
}

#[test]
fn a_sample_is_drawn_by_its_seed_without_repetition() {
    let draw = |seed, n_pairs| {
        clusters().sample(&CheckConfig {
            n_pairs,
            seed,
            ..CheckConfig::default()
        })
    };
    let sample = draw(1, 40);
    assert_eq!(sample.len(), 40);
    assert!(sample.is_sorted_by(|a, b| a.document < b.document));
    assert_eq!(sample, draw(1, 40));
    assert_ne!(sample, draw(2, 40));
    assert_eq!(draw(1, 1000).len(), 400);
    assert_eq!(draw(1, 0), []);
}

#[test]
fn the_best_of_a_cluster_stays_and_the_first_of_the_best() {
    let clusters = Clusters::new(vec![0, 0, 0, 3, 3], &[1, 2, 2, 0, 0], 0, 0);
    let kept: Vec<u64> = (0..5).map(|i| clusters.kept_for(i)).collect();
    assert_eq!(kept, [1, 1, 1, 3, 3]);
}

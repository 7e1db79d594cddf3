use super::*;

#[test]
fn an_asymmetric_group_reaches_from_its_least_to_its_greatest_value() {
    let groups = Int4Groups::asymmetric(32).unwrap();
    let values: Vec<f32> = (0..32).map(|i| -1.0 + 4.0 * i as f32 / 31.0).collect();
    let group = Group::of_range(groups, &values);
    // 15 steps over a range of 4, of which 1 is below 0.
    assert!((group.scale.to_f32() - 4.0 / 15.0).abs() < 1e-3);
    assert_eq!(group.zero, 4);
    assert_eq!(
        (group.code(-1.0), group.code(3.0), group.code(0.0)),
        (0, 15, 4)
    );
    assert_eq!(group.value(4), 0.0);
}

#[test]
fn a_group_of_one_sign_reaches_to_zero() {
    let groups = Int4Groups::asymmetric(32).unwrap();
    let group = Group::of_range(groups, &[3.0; 32]);
    assert_eq!((group.zero, group.code(3.0)), (0, 15));
    let group = Group::of_range(groups, &[-3.0; 32]);
    assert_eq!((group.zero, group.code(-3.0)), (15, 0));
}

#[test]
fn rows_of_an_odd_number_of_groups_keep_their_zero_points_apart() {
    let groups = Int4Groups::asymmetric(32).unwrap();
    let row = |i: usize| (i as f32 * 0.7).sin() + (i / 32 % 5) as f32 - 2.0;
    let weight: Vec<f32> = (0..3 * 96).map(row).collect();
    let arrays = pack(groups, &weight, 96);
    assert_eq!(
        (arrays.codes.len(), arrays.scales.len(), arrays.zeros.len()),
        (144, 18, 6)
    );
    for (i, row) in weight.chunks(96).enumerate() {
        let mut out = [0.0; 96];
        arrays.unpack_row(groups, i, &mut out);
        for (x, y) in row.iter().zip(out) {
            assert!((x - y).abs() < 0.13, "{x} and {y}");
        }
    }
}

#[test]
fn sizes_that_are_none_are_none() {
    assert!(Int4Groups::symmetric(48).is_none() && Int4Groups::asymmetric(0).is_none());
    let names: Vec<&str> = Int4Groups::ALL.map(Int4Groups::name).to_vec();
    assert_eq!(names[1], "int4-64");
    assert_eq!(names[5], "int4-128-sym");
}

use super::*;

fn curve(points: Vec<(f64, f64)>) -> Curve {
    Curve {
        title: "a <b> & c".to_owned(),
        x_label: "step".to_owned(),
        y_label: "loss".to_owned(),
        series: vec![Series {
            name: "x".to_owned(),
            points,
        }],
    }
}

/// All numbers in the `d` of the path with this class.
fn path_numbers(svg: &str, class: &str) -> Vec<f64> {
    let start = svg.find(&format!("class=\"{class}\" d=\"")).unwrap();
    let path = svg[start..].split('"').nth(3).unwrap();
    path.split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
        .filter(|number| !number.is_empty())
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn a_moving_mean_keeps_straight_lines_and_flattens_noise() {
    let straight: Vec<_> = (0..50)
        .map(|i| (f64::from(i), 2.0 * f64::from(i)))
        .collect();
    for (expected, found) in straight.iter().zip(moving_mean(&straight, 7)).take(47) {
        assert!((expected.1 - found.1).abs() < 1e-9);
    }
    let noise: Vec<_> = (0..50).map(|i| (f64::from(i), f64::from(i % 2))).collect();
    let middle = &moving_mean(&noise, 9)[10..40];
    assert!(middle.iter().all(|(_, y)| (y - 0.5).abs() < 0.06));
}

#[test]
fn every_point_is_inside_the_frame() {
    let wild = (1..=200).map(|i| {
        (
            f64::from(i),
            (f64::from(i) * 1.7).sin() * 1e3 / f64::from(i),
        )
    });
    let plot = line_plot(&curve(wild.collect()));
    let numbers = path_numbers(&plot.svg, "line line0");
    assert_eq!(numbers.len(), 400);
    for point in numbers.chunks(2) {
        assert!((LEFT..=WIDTH - RIGHT).contains(&point[0]), "{point:?}");
        assert!((TOP..=HEIGHT - BOTTOM).contains(&point[1]), "{point:?}");
    }
}

#[test]
fn many_points_are_thinned_and_few_are_not_smoothed() {
    let points = |n: i32| (0..n).map(|i| (f64::from(i), f64::from(i))).collect();
    let plot = line_plot(&curve(points(5000)));
    assert_eq!(plot.smoothing, Smoothing::MovingMean(501));
    assert!(plot.svg.matches("h0").count() <= MOST_DOTS);
    let plot = line_plot(&curve(points(29)));
    assert_eq!(plot.smoothing, Smoothing::None);
    assert_eq!(plot.svg.matches("h0").count(), 29);
}

#[test]
fn points_that_are_not_numbers_are_left_out() {
    let plot = line_plot(&curve(vec![
        (1.0, 2.0),
        (2.0, f64::NAN),
        (3.0, f64::INFINITY),
    ]));
    assert!(!plot.svg.contains("NaN") && !plot.svg.contains("inf"));
    assert_eq!(plot.svg.matches("h0").count(), 1);
    assert_eq!(line_plot(&curve(Vec::new())).summary, "No points.");
}

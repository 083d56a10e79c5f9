//! Points of a wish brought to a scale from 0 to 100.

/// The best that a node can have by one wish.
pub const BEST: i64 = 100;

/// In proportion to the highest.
pub fn by_highest(mut points: Vec<i64>) -> Vec<i64> {
    let highest = points.iter().copied().max().unwrap_or(0);
    if highest > 0 {
        for own in &mut points {
            *own = *own * BEST / highest;
        }
    }
    points
}

/// The fewer the better: none at all is best.
pub fn fewest(points: Vec<i64>) -> Vec<i64> {
    let mut points = by_highest(points);
    for own in &mut points {
        *own = BEST - *own;
    }
    points
}

/// The lowest becomes 0 and the highest 100.
pub fn stretched(mut points: Vec<i64>) -> Vec<i64> {
    let lowest = points.iter().copied().min().unwrap_or(0);
    let highest = points.iter().copied().max().unwrap_or(0);
    for own in &mut points {
        *own = match highest - lowest {
            0 => 0,
            width => (*own - lowest) * BEST / width,
        };
    }
    points
}

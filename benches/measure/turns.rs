//! What runs that took turns have to say of each other.

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The median of the rounds' ratios, with the smallest and the largest.
pub fn ratios(new: &[f64], old: &[f64]) -> String {
    let mut ratios: Vec<f64> = new.iter().zip(old).map(|(new, old)| new / old).collect();
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len() - 1;
    format!("{:.3} ({:.3} to {:.3})", ratios[last / 2], ratios[0], ratios[last])
}

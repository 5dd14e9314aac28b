//! How senders share what the path carries.

use twocan_wire::units::Bitrate;

/// What a sender wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// Given first, even if it is more than there is.
    pub min: Bitrate,
    /// Not given more; `None` is without limit.
    pub max: Option<Bitrate>,
    /// Its part of what is left after the minima, in relation to the others'; above 0.
    pub weight: f64,
}

/// Divides `total`: every minimum first, then the rest by weight, up to each maximum. What one
/// cannot take goes to the others.
pub fn share(total: Bitrate, claims: &[Claim]) -> Vec<Bitrate> {
    let bps = |rate: Bitrate| rate.as_bps() as f64;
    let min = |claim: &Claim| bps(claim.min);
    let max = |claim: &Claim| claim.max.map_or(f64::INFINITY, bps).max(min(claim));
    let mut shares: Vec<f64> = claims.iter().map(min).collect();
    let mut left = bps(total) - shares.iter().sum::<f64>();
    // Each round fills at least one claim, or uses up what is left.
    for _ in claims {
        let open = |(claim, own): (&Claim, &f64)| *own < max(claim);
        let pairs = claims.iter().zip(&shares);
        let weights: f64 = pairs
            .filter(|pair| open(*pair))
            .map(|(claim, _)| claim.weight)
            .sum();
        if left <= 0.0 || weights <= 0.0 {
            break;
        }
        let part = left / weights;
        for (claim, own) in claims.iter().zip(&mut shares) {
            let given = (part * claim.weight).min(max(claim) - *own).max(0.0);
            *own += given;
            left -= given;
        }
    }
    shares
        .into_iter()
        .map(|own| Bitrate::bps(own as u64))
        .collect()
}

/// One of the streams of a sender that share what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Whether it is to be sent.
    pub active: bool,
    /// With less it is of no use.
    pub min: Bitrate,
    /// Not given more; `None` is without limit.
    pub max: Option<Bitrate>,
    /// Whether it has a share at present: then it keeps it while there is its minimum.
    pub running: bool,
}

/// What a stream that rests must find beyond its minimum before it is sent again, as a part of it:
/// a target that goes up and down by a little must not start and stop it.
const RESUME_MARGIN: f64 = 0.2;

/// Divides `total` among layers, the lowest first: each gets up to its maximum, and the first for
/// which there is less than its minimum, and all above it, get nothing. The lowest active one always
/// gets what there is.
pub fn stack(total: Bitrate, layers: &[Layer]) -> Vec<Bitrate> {
    let mut left = total.as_bps();
    let mut is_lowest = true;
    let mut shares = Vec::new();
    for layer in layers {
        if !layer.active {
            shares.push(Bitrate::bps(0));
            continue;
        }
        let min = layer.min.as_bps();
        let margin = match layer.running {
            true => 0,
            false => (min as f64 * RESUME_MARGIN) as u64,
        };
        let fits = std::mem::take(&mut is_lowest) || left >= min.saturating_add(margin);
        let share = match fits {
            true => layer.max.map_or(left, |max| max.as_bps().min(left)),
            // What lies above needs what is below it.
            false => 0,
        };
        left = if fits { left - share } else { 0 };
        shares.push(Bitrate::bps(share));
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(total: u64, claims: &[(u64, Option<u64>, f64)]) -> Vec<u64> {
        let claims: Vec<Claim> = claims
            .iter()
            .map(|(min, max, weight)| Claim {
                min: Bitrate::kbps(*min),
                max: max.map(Bitrate::kbps),
                weight: *weight,
            })
            .collect();
        let shares = share(Bitrate::kbps(total), &claims);
        shares.iter().map(|own| own.as_bps() / 1000).collect()
    }

    #[test]
    fn equals_share_equally_and_weights_count() {
        assert_eq!(shares(1000, &[(0, None, 1.0), (0, None, 1.0)]), [500, 500]);
        assert_eq!(shares(900, &[(0, None, 1.0), (0, None, 2.0)]), [300, 600]);
        assert_eq!(shares(900, &[]), [0; 0]);
    }

    #[test]
    fn minima_come_first_and_what_one_cannot_take_goes_to_the_others() {
        let sound = (32, Some(64), 1.0);
        let video = (30, None, 1.0);
        assert_eq!(shares(1000, &[sound, video, video]), [64, 468, 468]);
        assert_eq!(shares(50, &[sound, video]), [32, 30]);
        let capped = (0, Some(100), 1.0);
        assert_eq!(shares(1000, &[capped, capped]), [100, 100]);
    }

    fn stacked(total: u64, layers: &[(bool, u64, Option<u64>, bool)]) -> Vec<u64> {
        let layers: Vec<Layer> = layers
            .iter()
            .map(|(active, min, max, running)| Layer {
                active: *active,
                min: Bitrate::kbps(*min),
                max: max.map(Bitrate::kbps),
                running: *running,
            })
            .collect();
        let shares = stack(Bitrate::kbps(total), &layers);
        shares.iter().map(|own| own.as_bps() / 1000).collect()
    }

    #[test]
    fn low_layers_come_first_and_what_does_not_fit_rests() {
        let all = [
            (true, 0, Some(200), false),
            (true, 150, Some(700), false),
            (true, 600, None, false),
        ];
        assert_eq!(stacked(4000, &all), [200, 700, 3100]);
        assert_eq!(stacked(1500, &all), [200, 700, 0]);
        assert_eq!(stacked(379, &all), [200, 0, 0]);
        assert_eq!(stacked(380, &all), [200, 180, 0]);
        assert_eq!(stacked(30, &all), [30, 0, 0]);
        assert_eq!(stacked(0, &all), [0, 0, 0]);
        assert_eq!(stacked(100, &[]), [0; 0]);
    }

    #[test]
    fn a_layer_that_runs_goes_on_at_its_minimum() {
        let with = |running| [(true, 0, Some(200), true), (true, 600, None, running)];
        assert_eq!(stacked(810, &with(true)), [200, 610]);
        assert_eq!(stacked(810, &with(false)), [200, 0]);
        assert_eq!(stacked(790, &with(true)), [200, 0]);
        assert_eq!(stacked(920, &with(false)), [200, 720]);
    }

    #[test]
    fn an_inactive_layer_leaves_its_share_to_the_others() {
        let all = [
            (false, 0, Some(200), true),
            (true, 150, Some(700), false),
            (true, 600, None, false),
        ];
        assert_eq!(stacked(100, &all), [0, 100, 0]);
        assert_eq!(stacked(2000, &all), [0, 700, 1300]);
    }
}

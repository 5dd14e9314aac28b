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
}

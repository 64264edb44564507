//! Accepted orders to look up afterwards: a bounded choice, evenly spread over a run of unknown length.

const KEPT_MAX: usize = 256;

pub struct Sample {
    kept: Vec<u64>,
    passed: u64,
    stride: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { kept: Vec::with_capacity(KEPT_MAX), passed: 0, stride: 1 }
    }
}

impl Sample {
    pub fn offer(&mut self, serial: u64) {
        if self.passed.is_multiple_of(self.stride) {
            if self.kept.len() == KEPT_MAX {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.stride *= 2;
            }
            if self.passed.is_multiple_of(self.stride) {
                self.kept.push(serial);
            }
        }
        self.passed += 1;
    }

    pub fn kept(&self) -> &[u64] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_is_kept_whole() {
        let mut sample = Sample::default();
        (0..200).for_each(|serial| sample.offer(serial));
        assert_eq!(sample.kept(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_run_is_kept_evenly() {
        let mut sample = Sample::default();
        (0..1_000_000).for_each(|serial| sample.offer(serial));
        let kept = sample.kept();
        assert!(kept.len() > KEPT_MAX / 2 && kept.len() <= KEPT_MAX, "{}", kept.len());
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == sample.stride));
        assert!(kept[0] == 0 && kept[kept.len() - 1] >= 1_000_000 - sample.stride);
    }
}

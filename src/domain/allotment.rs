//! How an amount is divided among parties to the minor unit. Pure arithmetic: nothing is lost, nobody goes below zero.

/// Divides `amount` among parties in proportion to what is left of each: floors first, and what remains of the amount
/// goes, a unit each, to those with the largest fractions; of equal ones to whoever stands first.
///
/// No part is more than what is left of its party, so that no sequence of divisions takes more from anyone than they
/// had. Divided by what each had at first, that fails: of 6, 6 and 2, ten back is 4, 4 and 2, and eleven is 5, 5 and 1,
/// so that a refund of one after a refund of ten would give the third party one back.
///
/// None where the amount is negative, a party has less than nothing, or all of them together have less than the amount.
pub fn allot(left: &[i64], amount: i64) -> Option<Box<[i64]>> {
    let mut total = 0i128;
    for party in left {
        total += i128::from(u64::try_from(*party).ok()?);
    }
    if amount < 0 || i128::from(amount) > total {
        return None;
    }
    if amount == 0 {
        return Some(left.iter().map(|_| 0).collect());
    }
    let exact: Vec<(i64, i128)> = left
        .iter()
        .map(|party| {
            let product = i128::from(*party) * i128::from(amount);
            Some((i64::try_from(product / total).ok()?, product % total))
        })
        .collect::<Option<_>>()?;
    give_rest(exact, amount)
}

/// Floors and what is left of `amount` beside them, by the largest remainders.
fn give_rest(exact: Vec<(i64, i128)>, amount: i64) -> Option<Box<[i64]>> {
    let floors = exact.iter().try_fold(0i64, |sum, (floor, _)| sum.checked_add(*floor))?;
    let rest = usize::try_from(amount.checked_sub(floors)?).ok()?;
    let mut places: Vec<usize> = (0..exact.len()).collect();
    // Stable: of equal remainders the first one stays first.
    places.sort_by_key(|place| std::cmp::Reverse(exact[*place].1));
    let mut parts: Box<[i64]> = exact.iter().map(|(floor, _)| *floor).collect();
    for place in places.into_iter().take(rest) {
        parts[place] += 1;
    }
    Some(parts)
}

/// Divides an amount at exact shares, given in billionths of a minor unit, which together are the amount.
///
/// None where they are not, or one of them is negative.
pub fn settle(exact: &[i128], amount: i64) -> Option<Box<[i64]>> {
    if exact.iter().any(|share| *share < 0) || exact.iter().sum::<i128>() != i128::from(amount) * WHOLE {
        return None;
    }
    let parts = exact.iter().map(|share| Some((i64::try_from(share / WHOLE).ok()?, share % WHOLE)));
    give_rest(parts.collect::<Option<_>>()?, amount)
}

/// A minor unit in what [`settle`] counts in.
pub const WHOLE: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(left: &[i64], amount: i64) -> Vec<i64> {
        allot(left, amount).unwrap().into_vec()
    }

    #[test]
    fn what_is_left_decides_and_not_what_was_there_first() {
        // Of 6, 6 and 2, eleven would be 5, 5 and 1, and ten before it 4, 4 and 2: taken from the first division, the
        // second refund would give the third party one back.
        let first = of(&[6, 6, 2], 10);
        assert_eq!(first, [4, 4, 2]);
        let left = [2, 2, 0];
        assert_eq!(of(&left, 1), [1, 0, 0]);
    }

    #[test]
    fn of_equal_fractions_the_first_party_gets_the_unit() {
        assert_eq!(of(&[3_333, 3_333, 3_333], 1_000), [334, 333, 333]);
        assert_eq!(of(&[17_500, 2_000, 500, 60], 10_030), [8_750, 1_000, 250, 30]);
        assert_eq!(of(&[1, 1], 1), [1, 0]);
    }

    #[test]
    fn more_than_there_is_is_not_divided() {
        assert_eq!(allot(&[1, 2], 4), None);
        assert_eq!(allot(&[1, -1], 0), None);
        assert_eq!(allot(&[1], -1), None);
        assert_eq!(of(&[], 0), Vec::<i64>::new());
        assert_eq!(of(&[i64::MAX, 0], i64::MAX), [i64::MAX, 0]);
    }

    #[test]
    fn exact_shares_are_settled_to_the_unit() {
        // A third each of 99.99, by a rate of 0.333333: the seller keeps the rest.
        let third = 9_999 * 333_333_000;
        let seller = 9_999 * WHOLE - 2 * third;
        assert_eq!(settle(&[seller, third, third], 9_999).unwrap().into_vec(), [3_333, 3_333, 3_333]);
        assert_eq!(settle(&[WHOLE / 2, WHOLE / 2], 1).unwrap().into_vec(), [1, 0]);
        assert_eq!(settle(&[WHOLE, WHOLE], 1), None);
        assert_eq!(settle(&[2 * WHOLE, -WHOLE], 1), None);
    }

    proptest! {
        #[test]
        fn no_sequence_takes_more_from_anyone_than_they_had(
            parties in proptest::collection::vec(0i64..=1_000_000_000_000, 1..=22),
            cuts in proptest::collection::vec(0u32..=1_000, 1..=50),
        ) {
            let mut left = parties.clone();
            for cut in cuts {
                let total: i64 = left.iter().sum();
                let amount = (i128::from(total) * i128::from(cut) / 1_000) as i64;
                let parts = allot(&left, amount).unwrap();
                prop_assert_eq!(parts.iter().sum::<i64>(), amount);
                for (party, part) in left.iter_mut().zip(&parts) {
                    prop_assert!((0..=*party).contains(part));
                    *party -= part;
                }
            }
            let total: i64 = left.iter().sum();
            prop_assert_eq!(allot(&left, total).unwrap().into_vec(), left);
        }
    }
}

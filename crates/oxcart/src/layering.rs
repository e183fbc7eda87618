//! Which wheels share a layer.
//!
//! A wheel of 1 MiB or more is a layer of its own. The rest fall into bins by a hash of their name, so
//! that an upgrade of one disturbs one bin. Where the budget is too small for that, the largest wheels
//! keep their own layers. Nothing from outside (no popularity, no history) takes part: it would change
//! digests.

use oci::Digest;

use crate::lock::LockedWheel;

/// Wheels from this size on have a layer of their own: 1 MiB.
const LARGE: u64 = 1 << 20;
/// Bins for the others.
const BINS: usize = 8;

/// Distributes `wheels` over at most `budget` layers (at least 1): the large ones in the order of
/// their names, then the bins; wheels of a bin in the order of their names.
pub(crate) fn distribute(wheels: &[LockedWheel], budget: usize) -> Vec<Vec<LockedWheel>> {
    let mut wheels = wheels.to_vec();
    wheels.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    let fits = wheels.len() <= budget && wheels.iter().all(|wheel| wheel.size >= LARGE);
    let bins = BINS.min(budget);
    let own = if fits { wheels.len() } else { budget - bins };
    let own = wheels
        .iter()
        .take(own)
        .take_while(|wheel| wheel.size >= LARGE)
        .count();
    let mut small = wheels.split_off(own);
    wheels.sort_by(|a, b| a.name.cmp(&b.name));
    small.sort_by(|a, b| a.name.cmp(&b.name));
    let mut layers: Vec<_> = wheels.into_iter().map(|wheel| vec![wheel]).collect();
    let mut binned = vec![Vec::new(); bins];
    for wheel in small {
        let bin = usize::from(Digest::of(wheel.name.as_bytes()).as_bytes()[0]) % bins;
        binned[bin].push(wheel);
    }
    layers.extend(binned.into_iter().filter(|bin| !bin.is_empty()));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Hex;

    fn wheels(sizes: &[(&str, u64)]) -> Vec<LockedWheel> {
        sizes
            .iter()
            .map(|&(name, size)| LockedWheel {
                name: name.to_owned(),
                version: "1".into(),
                filename: format!("{name}-1-py3-none-any.whl"),
                url: String::new(),
                sha256: Hex(Digest::of(name.as_bytes())),
                size,
                requested: false,
                sdist: None,
            })
            .collect()
    }

    fn names(layers: &[Vec<LockedWheel>]) -> Vec<Vec<&str>> {
        layers
            .iter()
            .map(|layer| layer.iter().map(|wheel| wheel.name.as_str()).collect())
            .collect()
    }

    #[test]
    fn large_wheels_stand_alone_in_the_order_of_their_names() {
        let layers = distribute(
            &wheels(&[("b", LARGE), ("a", LARGE + 5), ("c", LARGE - 1)]),
            60,
        );
        assert_eq!(names(&layers), [vec!["a"], vec!["b"], vec!["c"]]);
    }

    #[test]
    fn the_rest_falls_into_at_most_eight_bins_that_an_upgrade_does_not_mix() {
        let many: Vec<_> = (0..100).map(|n| (format!("p{n}"), 10 + n)).collect();
        let mut many: Vec<_> = many
            .iter()
            .map(|(name, size)| (name.as_str(), *size))
            .collect();
        let before = distribute(&wheels(&many), 60);
        assert_eq!(before.len(), 8);
        many[17].1 = 5000;
        let after = distribute(&wheels(&many), 60);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!((changed, names(&before)), (1, names(&after)));
    }

    #[test]
    fn the_budget_holds_and_the_largest_keep_their_layers() {
        let many: Vec<_> = (0..40)
            .map(|n| (format!("p{n}"), LARGE * (n + 1)))
            .collect();
        let many: Vec<_> = many
            .iter()
            .map(|(name, size)| (name.as_str(), *size))
            .collect();
        for budget in [1, 5, 9, 20, 39, 40, 60] {
            let layers = distribute(&wheels(&many), budget);
            assert!(layers.len() <= budget, "{budget}: {}", layers.len());
            assert_eq!(layers.iter().map(Vec::len).sum::<usize>(), 40);
        }
        let layers = distribute(&wheels(&many), 20);
        assert!(
            layers
                .iter()
                .any(|layer| layer.len() == 1 && layer[0].name == "p39")
        );
    }

    #[test]
    fn nothing_gives_no_layer() {
        assert!(distribute(&[], 60).is_empty());
    }
}

//! Which wheels share a layer.
//!
//! A wheel of 1 MiB or more is a layer of its own, or several above 512 MiB. The rest fall into bins by a
//! hash of their name, so that an upgrade of one disturbs one bin. Where the budget is too small for that,
//! the largest wheels keep their own layers. Nothing from outside (no popularity, no history) takes part:
//! it would change digests.

use oci::Digest;

use crate::lock::LockedWheel;
use crate::parts::{self, Part};
use crate::plan::Step;

/// Wheels from this size on have a layer of their own: 1 MiB.
const LARGE: u64 = 1 << 20;
/// Bins for the others.
const BINS: usize = 8;

/// Distributes `wheels` over at most `budget` layers (at least 1): the large ones in the order of
/// their names, then the bins; wheels of a bin in the order of their names.
pub(crate) fn distribute(wheels: &[LockedWheel], budget: usize) -> Vec<Step> {
    let mut wheels = wheels.to_vec();
    wheels.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    let fits = wheels.len() <= budget && wheels.iter().all(|wheel| wheel.size >= LARGE);
    let bins = BINS.min(budget);
    let mut room = if fits { budget } else { budget - bins };
    let mut own = Vec::new();
    let mut small = Vec::new();
    let mut others = wheels.len();
    for wheel in wheels {
        others -= 1;
        // Where all have layers of their own, parts may take none of the others'.
        let free = if fits { room - others } else { room };
        if wheel.size < LARGE || free == 0 {
            small.push(wheel);
            continue;
        }
        let parts = wheel.size.div_ceil(parts::LIMIT);
        let parts = usize::try_from(parts).map_or(free, |it| it.min(free));
        room -= parts;
        own.push((wheel, parts));
    }
    own.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    small.sort_by(|a, b| a.name.cmp(&b.name));
    let mut layers: Vec<_> = own.into_iter().flat_map(|it| steps(it.0, it.1)).collect();
    let mut binned = vec![Vec::new(); bins];
    for wheel in small {
        let bin = usize::from(Digest::of(wheel.name.as_bytes()).as_bytes()[0]) % bins;
        binned[bin].push(wheel);
    }
    let bins = binned.into_iter().filter(|bin| !bin.is_empty());
    layers.extend(bins.map(Step::Wheels));
    layers
}

/// The layers of one wheel.
fn steps(wheel: LockedWheel, parts: usize) -> Vec<Step> {
    if parts == 1 {
        return vec![Step::Wheels(vec![wheel])];
    }
    let part = |number| Part { number, of: parts };
    let step = |number| Step::Part(Box::new(wheel.clone()), part(number));
    (1..=parts).map(step).collect()
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

    fn names(layers: &[Step]) -> Vec<Vec<&str>> {
        layers
            .iter()
            .map(|layer| layer.wheels().iter().map(|it| it.name.as_str()).collect())
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
        let changed = before
            .iter()
            .zip(&after)
            .filter(|(a, b)| a.wheels() != b.wheels())
            .count();
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
            assert_eq!(names(&layers).iter().map(Vec::len).sum::<usize>(), 40);
        }
        let layers = distribute(&wheels(&many), 20);
        assert!(names(&layers).contains(&vec!["p39"]));
    }

    fn members(layers: &[Step]) -> Vec<String> {
        layers.iter().flat_map(Step::members).collect()
    }

    #[test]
    fn wheels_above_the_limit_have_several_layers() {
        const LIMIT: u64 = parts::LIMIT;
        let sizes = [("a", LIMIT), ("b", LIMIT + 1), ("c", LIMIT * 3), ("d", 1)];
        let layers = distribute(&wheels(&sizes), 60);
        assert_eq!(
            members(&layers),
            [
                "a 1",
                "b 1 (1 of 2)",
                "b 1 (2 of 2)",
                "c 1 (1 of 3)",
                "c 1 (2 of 3)",
                "c 1 (3 of 3)",
                "d 1"
            ]
        );
        let bytes = layers.iter().filter_map(Step::fetched_bytes);
        assert_eq!(bytes.sum::<u64>(), LIMIT * 5 + 2);
    }

    #[test]
    fn parts_take_no_layer_that_is_another_wheels() {
        const LIMIT: u64 = parts::LIMIT;
        let large = wheels(&[("a", LIMIT * 9), ("b", LIMIT * 4), ("c", LARGE)]);
        for (budget, layers) in [(1, 1), (3, 3), (4, 4), (8, 8), (14, 14), (15, 14)] {
            let found = distribute(&large, budget);
            assert_eq!(found.len(), layers, "{budget}: {:?}", members(&found));
        }
        assert_eq!(
            members(&distribute(&large, 5)),
            ["a 1 (1 of 3)", "a 1 (2 of 3)", "a 1 (3 of 3)", "b 1", "c 1"]
        );
        let mut mixed = large;
        mixed.extend(wheels(&[("small", 5)]));
        let found = members(&distribute(&mixed, 12));
        assert_eq!(
            found[..4],
            [
                "a 1 (1 of 4)",
                "a 1 (2 of 4)",
                "a 1 (3 of 4)",
                "a 1 (4 of 4)"
            ]
        );
        assert_eq!(found.len(), 7, "the rest is in bins: {found:?}");
    }

    #[test]
    fn nothing_gives_no_layer() {
        assert!(distribute(&[], 60).is_empty());
    }
}

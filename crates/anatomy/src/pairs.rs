//! Which layer of one image stands for which of the other.

use std::collections::BTreeSet;

use crate::inspection::Layer;

/// Two layers that are not the same, or one that has no match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) a: Option<&'a Layer>,
    pub(crate) b: Option<&'a Layer>,
}

/// The layers that only one of the images has, in pairs: those that the history calls alike, then those
/// that have most members' names in common, then those that the same command made; in the order of B,
/// those of A alone at last.
pub(crate) fn pairs<'a>(a: &'a [Layer], b: &'a [Layer]) -> Vec<Pair<'a>> {
    let (mut of_a, of_b) = (beyond(a, b), beyond(b, a));
    let mut matches: Vec<Option<&Layer>> = vec![None; of_b.len()];
    let alike: [fn(&Layer, &Layer) -> usize; 3] = [
        |a, b| usize::from((&a.created_by, a.title()) == (&b.created_by, b.title())),
        |a, b| {
            let names: BTreeSet<_> = a.names().into_iter().collect();
            b.names()
                .iter()
                .filter(|name| names.contains(*name))
                .count()
        },
        |a, b| {
            let is_plain = a.members.is_empty() && b.members.is_empty();
            usize::from(is_plain && a.created_by == b.created_by)
        },
    ];
    for likeness in alike {
        for (layer, found) in of_b.iter().zip(&mut matches) {
            if found.is_some() {
                continue;
            }
            // The first of the best.
            let best = of_a.iter().enumerate().rev();
            let best = best.max_by_key(|(_, it)| likeness(it, layer));
            if let Some((n, _)) = best.filter(|(_, it)| likeness(it, layer) > 0) {
                *found = Some(of_a.remove(n));
            }
        }
    }
    let both = matches.into_iter().zip(of_b);
    both.map(|(a, b)| Pair { a, b: Some(b) })
        .chain(of_a.into_iter().map(|a| Pair {
            a: Some(a),
            b: None,
        }))
        .collect()
}

/// The layers of `own` that `other` has not, each as often as it has it less.
fn beyond<'a>(own: &'a [Layer], other: &[Layer]) -> Vec<&'a Layer> {
    let mut theirs: Vec<&str> = other.iter().map(|it| it.diff_id.as_str()).collect();
    let mut beyond: Vec<_> = own.iter().collect();
    beyond.retain(|layer| {
        let found = theirs.iter().position(|it| *it == layer.diff_id);
        found.map(|n| theirs.swap_remove(n)).is_none()
    });
    beyond
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::layer;

    #[test]
    fn what_is_alike_is_paired() {
        let check = |a: &[Layer], b: &[Layer], expect: &[(usize, usize)]| {
            let number = |it: Option<&Layer>| it.map_or(0, |it| it.number);
            let found = pairs(a, b);
            let found: Vec<_> = found
                .iter()
                .map(|it| (number(it.a), number(it.b)))
                .collect();
            assert_eq!(found, expect);
        };
        let wheel = "oxcart wheel";
        let a = [
            layer(1, "base", "oxcart base", "base: 3 Debian packages"),
            layer(2, "numpy1", wheel, "numpy 1"),
            layer(3, "bin1", wheel, "a 1, b 1, c 1"),
            layer(4, "old", wheel, "old 1"),
            layer(5, "app1", "oxcart app", "app → /app"),
        ];
        let b = [
            layer(1, "base", "oxcart base", "base: 3 Debian packages"),
            layer(2, "new", wheel, "new 1"),
            layer(3, "numpy2", wheel, "numpy 2"),
            layer(4, "bin2", wheel, "a 1, b 2, c 1"),
            layer(5, "app2", "oxcart app", "app → /app"),
        ];
        check(&a, &a, &[]);
        check(&a, &b, &[(0, 2), (2, 3), (3, 4), (5, 5), (4, 0)]);
        let twice = [b[1].clone(), b[1].clone()];
        check(&twice[..1], &twice, &[(0, 2)]);
        let debian = [layer(1, "base2", "oxcart base", "base: 4 Debian packages")];
        check(&a[..1], &debian, &[(1, 1)]);
    }
}

use super::*;
use crate::Architecture;
use crate::packages::installed;
use crate::packages::tests::index;

const OMITTED: [&str; 0] = [];

fn universe(text: &str) -> Universe {
    Universe::new(Architecture::new("arm64").unwrap(), [index(text)])
}

fn run(text: &str, wanted: &str, policy: &Policy) -> Result<String, SolveError> {
    let wanted: Vec<Dependency> = wanted.split(", ").map(|item| item.parse().unwrap()).collect();
    let universe = universe(text);
    let chosen = solve(&universe, &wanted, policy)?;
    Ok(chosen.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(" "))
}

/// The names that `wanted` leads to, or the error's text.
fn solved(text: &str, wanted: &str) -> String {
    run(text, wanted, &Policy::default()).unwrap_or_else(|error| error.to_string())
}

fn with_omitted(omitted: &[&str]) -> Policy {
    Policy { omitted: omitted.iter().map(|name| (*name).to_owned()).collect(), ..Policy::default() }
}

fn with_installed(status: &str) -> Policy {
    Policy { installed: installed(status.as_bytes(), "status").unwrap(), ..Policy::default() }
}

#[test]
fn takes_what_is_needed_and_nothing_else() {
    let text = "a 1\n Depends: b, c (>= 1)\n Recommends: r\n Suggests: r\nb 1\n Pre-Depends: d\n\
                c 1\nd 1\n Depends: a\nr 1\ne 1\n Essential: yes";
    assert_eq!(solved(text, "a"), "a b c d");
    assert_eq!(solved(text, "d, c, c"), "a b c d");
}

#[test]
fn takes_the_first_alternative_that_can_be_had() {
    let text = "a 1\n Depends: x | old (>= 2) | b | c\nb 1\n Depends: missing\nc 1\nold 1\n\
                d 1\n Depends: c | e\ne 1";
    assert_eq!(solved(text, "a"), "a c");
    assert_eq!(solved(text, "d"), "c d");
}

#[test]
fn prefers_what_is_chosen_already() {
    // Whatever the order: `c` is wanted or forced, so `b | c` brings nothing more in.
    let text = "a 1\n Depends: b | c, d\nb 1\nc 1\nd 1\n Depends: e\ne 1\n Depends: c";
    assert_eq!(solved(text, "a"), "a c d e");
    assert_eq!(solved("a 1\n Depends: b | c\nb 1\nc 1", "a, c"), "a c");
}

#[test]
fn provides_satisfy() {
    let text = "a 1\n Depends: v\np 1\n Provides: v\nq 1\n Provides: v\n Priority: required\n\
                b 1\n Depends: w (>= 2)\nr 1\n Provides: w\ns 1\n Provides: w (= 1)\n\
                t 1\n Provides: w (= 2)\nc 1\n Depends: p\nd 1\n Depends: real\nreal 1\n\
                u 1\n Provides: real\n Essential: yes";
    // By priority, then by name; a chosen one first; the real package before any.
    assert_eq!(solved(text, "a"), "a q");
    assert_eq!(solved(text, "a, c"), "a c p");
    assert_eq!(solved(text, "b"), "b t");
    assert_eq!(solved(text, "d"), "d real");
}

#[test]
fn qualifiers() {
    let text = "a 1\n Depends: any:any\nany 1\n Multi-Arch: allowed\nb 1\n Depends: plain:any\n\
                plain 1\nc 1\n Depends: plain:arm64\nd 1\n Depends: plain:amd64 | any:native\n\
                e 1\n Depends: plain:amd64";
    assert_eq!(solved(text, "a"), "a any");
    assert_eq!(solved(text, "c"), "c plain");
    assert_eq!(solved(text, "d"), "any d");
    insta::assert_snapshot!(solved(text, "b"), @"");
    insta::assert_snapshot!(solved(text, "e"), @"");
}

#[test]
fn other_architectures_alternatives_are_read_over() {
    let text = "a 1\n Depends: b [amd64], c [arm64 armhf] | d\nc 1\nd 1";
    assert_eq!(solved(text, "a"), "a c");
}

#[test]
fn conflicts_and_breaks_exclude() {
    // An alternative that breaks what is chosen is no alternative, in either direction.
    let text = "a 1\n Depends: b, c | d\nb 1\n Conflicts: c\nc 1\nd 1";
    assert_eq!(solved(text, "a"), "a b d");
    let text = "a 1\n Depends: b, c | d\nb 2\nc 1\n Breaks: b (<< 3)\nd 1";
    assert_eq!(solved(text, "a"), "a b d");
    let text = "a 1\n Depends: b, c | d\nb 3\nc 1\n Breaks: b (<< 3)\nd 1";
    assert_eq!(solved(text, "a"), "a b c");
    // A package may conflict with the name that it provides, as the only one.
    let text = "m 1\n Provides: mta\n Conflicts: mta\nn 1\n Provides: mta";
    assert_eq!(solved(text, "m"), "m");
    insta::assert_snapshot!(solved(text, "m, n"), @"");
}

#[test]
fn goes_back_to_an_earlier_choice() {
    // `b` is the first alternative, but what it needs further on breaks `z`.
    let text = "a 1\n Depends: b | c, z\nb 1\n Depends: y | x\ny 1\n Depends: w\nw 1\n Breaks: z\n\
                x 1\n Depends: v\nv 1\n Conflicts: z\nz 1\nc 1";
    assert_eq!(solved(text, "a"), "a c z");
}

#[test]
fn omitted_names_are_satisfied_and_stay_out() {
    let text = "a 1\n Depends: sh (>= 9), awk, perl:any, b\nb 1\n Depends: sh | c\nc 1\nsh 1\n\
                mawk 1\n Provides: awk\nperl 1\n Depends: sh";
    let omitted = with_omitted(&["sh", "mawk", "perl"]);
    assert_eq!(run(text, "a", &omitted), Ok("a b".into()));
    assert_eq!(run(text, "a", &with_omitted(&["sh", "awk", "perl"])), Ok("a b".into()));
    // Unless wanted by name.
    assert_eq!(run(text, "a, mawk", &omitted), Ok("a b mawk".into()));
}

const STATUS: &str = "\
Package: libc
Status: install ok installed
Version: 2.36
Architecture: arm64
Provides: crypt (= 1)
Breaks: old (<< 2)

Package: foreign
Status: install ok installed
Version: 1
Architecture: amd64
Multi-Arch: foreign

Package: other
Status: install ok installed
Version: 1
Architecture: amd64
";

#[test]
fn installed_packages_count() {
    let policy = with_installed(STATUS);
    let text = "a 1\n Depends: libc (>= 2.30), crypt (>= 1), foreign\nlibc 2.41\nforeign 1";
    assert_eq!(run(text, "a, libc", &policy), Ok("a".into()));
}

#[test]
fn installed_packages_stay_as_they_are() {
    let policy = with_installed(STATUS);
    let text = "a 1\n Depends: libc (>= 2.38)\nlibc 2.41\nold 1\nb 1\n Conflicts: libc\n\
                c 1\n Depends: other\nd 1\n Depends: libc (>= 2.50)";
    let message = |wanted| run(text, wanted, &policy).unwrap_err().to_string();
    insta::assert_snapshot!(message("a"), @"");
    insta::assert_snapshot!(message("d"), @"");
    insta::assert_snapshot!(message("old"), @"");
    insta::assert_snapshot!(message("b"), @"");
    insta::assert_snapshot!(message("c"), @"");
}

#[test]
fn tells_the_chain_that_fails() {
    let text = "a 1\n Depends: b (>= 1)\nb 1.5\n Pre-Depends: c\nc 2\n Depends: d (= 3) | v (>= 1) | x\n\
                d 4\np 1\n Provides: v";
    insta::assert_snapshot!(solved(text, "a"), @"");
    insta::assert_snapshot!(solved(text, "nothing"), @"");
    insta::assert_snapshot!(solved(text, "d (<< 4)"), @"");
    // Where every alternative fails, the first one's chain is told.
    let text = "a 1\n Depends: b | c\nb 1\n Depends: x\nc 1\n Depends: y";
    insta::assert_snapshot!(solved(text, "a"), @"");
}

#[test]
fn errors_have_the_facts_as_fields() {
    let Err(SolveError::Unsatisfiable { wanted, chain, unmet }) =
        run("a 1\n Depends: b", "a", &Policy::default())
    else {
        panic!("`b` does not exist")
    };
    let link = Link {
        package: "a".into(),
        version: "1".parse().unwrap(),
        field: "Depends",
        dependency: "b".into(),
    };
    let lacking = Unmet { relation: "b".into(), reason: Reason::Unknown };
    assert_eq!((wanted.as_str(), chain, unmet), ("a", vec![link], vec![lacking]));
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    let error = run("a 1\n Depends: b (1)", "a", &Policy::default()).unwrap_err();
    insta::assert_snapshot!(error, @"");
}

#[test]
fn the_order_of_the_index_does_not_matter() {
    let text = "a 1\n Depends: v, b | c, w\nb 1\nc 1\np 1\n Provides: v, w\nq 1\n Provides: v";
    let mut packages = index(text);
    let wanted = [Dependency { alternatives: vec![Relation::to("a")] }];
    let names = |packages: Vec<Package>| {
        let universe = Universe::new(Architecture::new("arm64").unwrap(), [packages]);
        let chosen = solve(&universe, &wanted, &with_omitted(&OMITTED)).unwrap();
        chosen.iter().map(|package| package.name.clone()).collect::<Vec<_>>()
    };
    let expect = names(packages.clone());
    assert_eq!(expect, ["a", "b", "p"]);
    packages.reverse();
    assert_eq!(names(packages.clone()), expect);
    packages.rotate_left(2);
    assert_eq!(names(packages), expect);
}

#[test]
fn gives_up_on_entangled_choices() {
    // Thirty free choices, then two wanted things that exclude each other further on.
    let mut text = String::new();
    let mut depends = Vec::new();
    for n in 0..30 {
        text += &format!("l{n} 1\nr{n} 1\n");
        depends.push(format!("l{n} | r{n}"));
    }
    text += &format!("a 1\n Depends: {}, p | q\n", depends.join(", "));
    text += "p 1\n Depends: x\nq 1\n Depends: x";
    let error = run(&text, "a", &Policy::default()).unwrap_err();
    insta::assert_snapshot!(error, @"");
}

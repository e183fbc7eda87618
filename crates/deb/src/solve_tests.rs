use super::*;
use crate::Architecture;
use crate::packages::installed;
use crate::packages::tests::index;

const OMITTED: [&str; 0] = [];

fn universe(text: &str) -> Universe {
    Universe::new(Architecture::new("arm64").unwrap(), [index(text)])
}

fn run(text: &str, wanted: &str, policy: &Policy) -> Result<String, SolveError> {
    let wanted: Vec<Dependency> = wanted
        .split(", ")
        .map(|item| item.parse().unwrap())
        .collect();
    let universe = universe(text);
    let chosen = solve(&universe, &wanted, policy)?;
    Ok(chosen
        .iter()
        .map(|package| package.name.as_str())
        .collect::<Vec<_>>()
        .join(" "))
}

/// The names that `wanted` leads to, or the error's text.
fn solved(text: &str, wanted: &str) -> String {
    run(text, wanted, &Policy::default()).unwrap_or_else(|error| error.to_string())
}

fn with_omitted(omitted: &[&str]) -> Policy {
    Policy {
        omitted: omitted.iter().map(|name| (*name).to_owned()).collect(),
        ..Policy::default()
    }
}

fn with_installed(status: &str) -> Policy {
    Policy {
        installed: installed(status.as_bytes(), "status").unwrap(),
        ..Policy::default()
    }
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
    insta::assert_snapshot!(solved(text, "b"), @r"
    cannot install b
      b 1 depends on plain:any
      plain:any: no package has this name for this architecture
    ");
    insta::assert_snapshot!(solved(text, "e"), @r"
    cannot install e
      e 1 depends on plain:amd64
      plain:amd64: no package has this name for this architecture
    ");
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
    insta::assert_snapshot!(solved(text, "m, n"), @r"
    cannot install n
      n: m 1 conflicts with mta, which n 1 is
    ");
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
    assert_eq!(
        run(text, "a", &with_omitted(&["sh", "awk", "perl"])),
        Ok("a b".into())
    );
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
fn an_answer_can_be_the_base_of_the_next() {
    let text = "a 1\n Depends: c\nb 1\n Depends: c, d\nc 1\nd 1";
    let universe = universe(text);
    let wanted = |name| {
        [Dependency {
            alternatives: vec![Relation::to(name)],
        }]
    };
    let base = solve(&universe, &wanted("a"), &Policy::default()).unwrap();
    let installed = base.into_iter().map(Installed::from).collect();
    let policy = Policy {
        installed,
        ..Policy::default()
    };
    let names: Vec<_> = solve(&universe, &wanted("b"), &policy).unwrap();
    let names: Vec<_> = names.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["b", "d"]);
}

#[test]
fn installed_packages_stay_as_they_are() {
    let policy = with_installed(STATUS);
    let text = "a 1\n Depends: libc (>= 2.38)\nlibc 2.41\nold 1\nb 1\n Conflicts: libc\n\
                c 1\n Depends: other\nd 1\n Depends: libc (>= 2.50)";
    let message = |wanted| run(text, wanted, &policy).unwrap_err().to_string();
    insta::assert_snapshot!(message("a"), @r"
    cannot install a
      a 1 depends on libc (>= 2.38)
      libc (>= 2.38): the base has libc 2.36, which is not replaced
    ");
    insta::assert_snapshot!(message("d"), @r"
    cannot install d
      d 1 depends on libc (>= 2.50)
      libc (>= 2.50): the base has libc 2.36, which is not replaced
    ");
    insta::assert_snapshot!(message("old"), @r"
    cannot install old
      old: libc 2.36 breaks old (<< 2), which old 1 is
    ");
    insta::assert_snapshot!(message("b"), @r"
    cannot install b
      b: b 1 conflicts with libc, which libc 2.36 is
    ");
    insta::assert_snapshot!(message("c"), @r"
    cannot install c
      c 1 depends on other
      other: the base has other 1, which is not replaced
    ");
}

#[test]
fn tells_the_chain_that_fails() {
    let text = "a 1\n Depends: b (>= 1)\nb 1.5\n Pre-Depends: c\nc 2\n Depends: d (= 3) | v (>= 1) | x\n\
                d 4\np 1\n Provides: v";
    insta::assert_snapshot!(solved(text, "a"), @r"
    cannot install a
      a 1 depends on b (>= 1)
      b 1.5 pre-depends on c
      c 2 depends on d (= 3) | v (>= 1) | x
      d (= 3): the index has d 4
      v (>= 1): p provides it without a version
      x: no package has or provides this name
    ");
    insta::assert_snapshot!(solved(text, "nothing"), @r"
    cannot install nothing
      nothing: no package has or provides this name
    ");
    insta::assert_snapshot!(solved(text, "d (<< 4)"), @r"
    cannot install d (<< 4)
      d (<< 4): the index has d 4
    ");
    // Where every alternative fails, the first one's chain is told.
    let text = "a 1\n Depends: b | c\nb 1\n Depends: x\nc 1\n Depends: y";
    insta::assert_snapshot!(solved(text, "a"), @r"
    cannot install a
      a 1 depends on b | c
      b 1 depends on x
      x: no package has or provides this name
    ");
}

#[test]
fn errors_have_the_facts_as_fields() {
    let Err(SolveError::Unsatisfiable {
        wanted,
        chain,
        unmet,
    }) = run("a 1\n Depends: b", "a", &Policy::default())
    else {
        panic!("`b` does not exist")
    };
    let link = Link {
        package: "a".into(),
        version: "1".parse().unwrap(),
        field: "Depends",
        dependency: "b".into(),
    };
    let lacking = Unmet {
        relation: "b".into(),
        reason: Reason::Unknown,
    };
    assert_eq!(
        (wanted.as_str(), chain, unmet),
        ("a", vec![link], vec![lacking])
    );
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    let error = run("a 1\n Depends: b (1)", "a", &Policy::default()).unwrap_err();
    insta::assert_snapshot!(error, @"a 1: field `Depends`");
}

#[test]
fn the_order_of_the_index_does_not_matter() {
    let text = "a 1\n Depends: v, b | c, w\nb 1\nc 1\np 1\n Provides: v, w\nq 1\n Provides: v";
    let mut packages = index(text);
    let wanted = [Dependency {
        alternatives: vec![Relation::to("a")],
    }];
    let names = |packages: Vec<Package>| {
        let universe = Universe::new(Architecture::new("arm64").unwrap(), [packages]);
        let chosen = solve(&universe, &wanted, &with_omitted(&OMITTED)).unwrap();
        chosen
            .iter()
            .map(|package| package.name.clone())
            .collect::<Vec<_>>()
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
    // Thirty free choices, then one of which no alternative works.
    let choices: Vec<_> = (0..30).map(|n| format!("l{n} | r{n}")).collect();
    let packages: Vec<_> = (0..30).map(|n| format!("l{n} 1\nr{n} 1")).collect();
    let text = format!(
        "{}\na 1\n Depends: {}, p | q\np 1\n Depends: x\nq 1\n Depends: x",
        packages.join("\n"),
        choices.join(", ")
    );
    let error = run(&text, "a", &Policy::default()).unwrap_err();
    insta::assert_snapshot!(error, @"gave up on choosing between alternatives after 10000 attempts; name some of them");
}

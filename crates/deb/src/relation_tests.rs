use proptest::prelude::*;

use super::*;

fn relation(text: &str) -> Relation {
    text.parse().unwrap()
}

#[test]
fn prints_what_it_parsed() {
    let check = |text: &str, expect: &str| {
        let field = parse_field(text).unwrap();
        let printed: Vec<_> = field.iter().map(ToString::to_string).collect();
        assert_eq!(printed.join(", "), expect);
    };
    check("", "");
    check("libc6", "libc6");
    check(
        " libc6(>=2.34) ,\n libfoo-1.0+ ( << 2:3~) ,",
        "libc6 (>= 2.34), libfoo-1.0+ (<< 2:3~)",
    );
    check("a|b (= 1)| c", "a | b (= 1) | c");
    check(
        "python3:any (>= 3.13~), gcc:native, x:arm64",
        "python3:any (>= 3.13~), gcc:native, x:arm64",
    );
    check("a (< 1), b (> 1)", "a (<= 1), b (>= 1)");
    check(
        "a [amd64 arm64] <!nocheck> <stage1 !nodoc>, b [ !armhf ]",
        "a [amd64 arm64], b [!armhf]",
    );
    check("a <!nocheck>", "a");
}

#[test]
fn refuses_other_texts() {
    let message = |text: &str| parse_field(text).unwrap_err().to_string();
    insta::assert_snapshot!(message("a | "), @"`` does not begin with a package name");
    insta::assert_snapshot!(message("(>= 1)"), @"`(>= 1)` does not begin with a package name");
    insta::assert_snapshot!(message("a: (>= 1)"), @"`a: (>= 1)` has no architecture behind the colon");
    insta::assert_snapshot!(message("a (1)"), @"`a (1)` has something else than `(operator version)` in parentheses");
    insta::assert_snapshot!(message("a (=> 1)"), @"`a (=> 1)` has something else than `(operator version)` in parentheses");
    insta::assert_snapshot!(message("a (>= 1"), @"`a (>= 1` has something else behind it");
    insta::assert_snapshot!(message("a (>= )"), @"`` is not a version: the upstream version is empty");
    insta::assert_snapshot!(message("a b"), @"`a` has something else behind it");
    insta::assert_snapshot!(message("a [amd64 !arm64]"), @"`a [amd64 !arm64]` has negated and plain architectures in one pair of brackets");
}

#[test]
fn architecture_restrictions() {
    let check = |text: &str, expect: bool| {
        assert_eq!(relation(text).applies_to("arm64"), expect, "{text}");
    };
    check("a", true);
    check("a [arm64]", true);
    check("a [amd64]", false);
    check("a [amd64 arm64]", true);
    check("a [!amd64]", true);
    check("a [!amd64 !arm64]", false);
    check("a [linux-any]", true);
    check("a [any-arm64]", true);
    check("a [!any-amd64]", true);
}

#[test]
fn operators_hold() {
    let check = |text: &str, expect: [bool; 3]| {
        let relation = relation(text);
        let versions = ["1", "2", "3"].map(|v| v.parse().unwrap());
        assert_eq!(
            versions.each_ref().map(|v| relation.accepts(v)),
            expect,
            "{text}"
        );
    };
    check("a", [true, true, true]);
    check("a (<< 2)", [true, false, false]);
    check("a (<= 2)", [true, true, false]);
    check("a (= 2)", [false, true, false]);
    check("a (>= 2)", [false, true, true]);
    check("a (>> 2)", [false, false, true]);
}

#[test]
fn an_unversioned_provides_satisfies_no_versioned_relation() {
    let one = "1".parse().unwrap();
    assert!(relation("a").accepts_provided(None));
    assert!(!relation("a (>= 1)").accepts_provided(None));
    assert!(relation("a (>= 1)").accepts_provided(Some(&one)));
    assert!(!relation("a (>> 1)").accepts_provided(Some(&one)));
}

#[test]
fn provides() {
    let one: Version = "1".parse().unwrap();
    let provided = parse_provides("a, b (= 1)").unwrap();
    assert_eq!(
        provided,
        [("a".to_owned(), None), ("b".to_owned(), Some(one))]
    );
    insta::assert_snapshot!(parse_provides("a | b").unwrap_err(), @"`a | b` cannot be provided");
    insta::assert_snapshot!(parse_provides("a (>= 1)").unwrap_err(), @"`a (>= 1)` cannot be provided");
}

proptest! {
    #[test]
    fn any_text_parses_or_not(text in "[a1:|(<>=)!, \\[\\]~é-]{0,24}") {
        if let Ok(field) = parse_field(&text) {
            let printed: Vec<_> = field.iter().map(ToString::to_string).collect();
            prop_assert_eq!(parse_field(&printed.join(", ")), Ok(field));
        }
    }
}

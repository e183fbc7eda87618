use crate::harness::{Harness, read};
use crate::{Input, normalize_name};

fn pyproject(harness: &Harness, text: &str, extras: &[&str], groups: &[&str]) -> Input {
    let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let path = harness.file("pyproject.toml", text);
    Input::Pyproject {
        path,
        extras: own(extras),
        groups: own(groups),
    }
}

#[test]
fn a_requirements_file_is_read_with_what_it_includes() {
    let harness = Harness::with(&[]);
    std::fs::create_dir(harness.path("more")).unwrap();
    harness.file(
        "more/base.txt",
        "Foo_Bar [b, a] >= 1 , < 2 # why\n-c limits.txt\n",
    );
    harness.file("more/limits.txt", "deep<4\n");
    let hash = "a".repeat(64);
    let file = harness.file(
        "requirements.txt",
        &format!(
            "# comment\n-r more/base.txt\n--index-url https://ann:s3cret@one.example/simple\n\
             --extra-index-url https://two.example/simple\n-f https://three.example/links\n\
             --only-binary :all:\n--prefer-binary\n--trusted-host one.example\n\
             httpx == 0.27.* ; python_version<'4' --hash=sha256:{hash}\n\
             local @ ./wheels/local-1.0-py3-none-any.whl\n"
        ),
    );
    let inputs = read(&[Input::RequirementsFile(file)]).unwrap();
    assert_eq!(
        inputs.requirements(),
        [
            "foo-bar[a,b]>=1, <2".to_owned(),
            format!("httpx==0.27.* ; python_full_version < '4' --hash=sha256:{hash}"),
            "local @ ./wheels/local-1.0-py3-none-any.whl".to_owned(),
        ]
    );
    assert_eq!(inputs.constraints(), ["deep<4"]);
    assert_eq!(
        inputs.index.default.as_deref(),
        Some("https://ann:s3cret@one.example/simple")
    );
    assert_eq!(inputs.index.extra, ["https://two.example/simple"]);
    let [warning] = inputs.warnings() else {
        panic!("{:?}", inputs.warnings())
    };
    assert!(
        warning.ends_with("requirements.txt: --trusted-host has no effect"),
        "{warning}"
    );
    insta::assert_snapshot!(inputs.fingerprint());
}

#[test]
fn the_fingerprint_stays_where_the_meaning_does() {
    let harness = Harness::with(&[]);
    let fingerprint = |text: &str| {
        let file = harness.file("requirements.txt", text);
        read(&[Input::RequirementsFile(file)])
            .unwrap()
            .fingerprint()
    };
    let first = fingerprint("b>=1\na == 2 # two\n");
    assert_eq!(fingerprint("A==2\n\n  B >=1"), first);
    assert_ne!(fingerprint("a==2\nb>=2\n"), first);
    assert_ne!(fingerprint("a==2\nb>=1 ; sys_platform == 'win32'\n"), first);
    assert_ne!(fingerprint("-i https://x.example\na==2\nb>=1\n"), first);

    let given = [
        Input::Requirement("a==2".to_owned()),
        Input::Requirement("b>=1".to_owned()),
    ];
    assert_eq!(read(&given).unwrap().fingerprint(), first);
}

#[test]
fn a_project_gives_dependencies_extras_and_groups() {
    let harness = Harness::with(&[]);
    let text = "
        [project]
        name = 'my_app'
        requires-python = '>=3.10'
        dependencies = ['httpx>=0.27']
        [project.optional-dependencies]
        All = ['my-app[db,web] ; python_version < \"4\"']
        db = ['psycopg[binary]']
        web = ['uvicorn', 'my-app[all]']
        [dependency-groups]
        test = ['pytest', { include-group = 'Lint' }]
        lint = ['ruff==0.9']
    ";
    let requirements = |extras: &[&str], groups: &[&str]| {
        read(&[pyproject(&harness, text, extras, groups)])
            .unwrap()
            .requirements()
    };
    assert_eq!(requirements(&[], &[]), ["httpx>=0.27"]);
    assert_eq!(
        requirements(&["DB"], &[]),
        ["httpx>=0.27", "psycopg[binary]"]
    );
    assert_eq!(
        requirements(&["all"], &[]),
        [
            "httpx>=0.27",
            "psycopg[binary] ; python_full_version < '4'",
            "uvicorn ; python_full_version < '4'",
        ]
    );
    assert_eq!(
        requirements(&[], &["test"]),
        ["httpx>=0.27", "pytest", "ruff==0.9"]
    );
}

#[test]
fn mistakes_are_placed() {
    let harness = Harness::with(&[]);
    let mut told = Vec::new();
    let mut check = |input: Input| told.push(harness.told(&read(&[input]).unwrap_err()));

    harness.file("broken.txt", "# one\n# two\n\nfoo bar\n");
    for text in [
        "httpx\n\nfoo == 1 == 2\n",
        "httpx\nfoo ; python_vrsion > '3'\n",
        "httpx>=1,<\n",
        "flask\n-r broken.txt\n",
        "flask\n-r missing.txt\n",
        "flask\n-c broken.txt\n",
        "flask\n--what-is-this\n",
        "-r https://example.org/requirements.txt\n",
    ] {
        check(Input::RequirementsFile(
            harness.file("requirements.txt", text),
        ));
    }
    check(Input::RequirementsFile(harness.path("absent.txt")));
    check(Input::Requirement("not a requirement".to_owned()));
    check(Input::Pyproject {
        path: harness.path("absent.toml"),
        extras: Vec::new(),
        groups: Vec::new(),
    });
    for (text, extras, groups) in [
        (
            "[project]\nname = 'app'\ndependencies = [\n  'httpx',\n  'foo bar',\n]\n",
            vec![],
            vec![],
        ),
        (
            "[project]\nname = 'app'\ndynamic = ['dependencies']\n",
            vec![],
            vec![],
        ),
        (
            "[project]\nname = 'app'\nrequires-python = 'three'\n",
            vec![],
            vec![],
        ),
        ("[project\nname = 'app'\n", vec![], vec![]),
        (
            "[project.optional-dependencies]\ndb = []\nweb = []\n",
            vec!["wbe"],
            vec![],
        ),
        ("[dependency-groups]\ntest = []\n", vec![], vec!["tset"]),
        (
            "[dependency-groups]\na = [{include-group='b'}]\nb = [{include-group='a'}]\n",
            vec![],
            vec!["a"],
        ),
        ("[dependency-groups]\na = [1]\n", vec![], vec!["a"]),
    ] {
        check(pyproject(&harness, text, &extras, &groups));
    }
    insta::assert_snapshot!(told.join("\n---\n"));
}

#[test]
fn names_are_normalised() {
    assert_eq!(
        normalize_name("Flask_SQLAlchemy").unwrap(),
        "flask-sqlalchemy"
    );
    assert!(normalize_name("-flask").is_err());
}

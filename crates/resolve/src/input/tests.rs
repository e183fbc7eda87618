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

/// Files as people have them, each of which pip reads, or refuses, in the same way. What pip takes and
/// we do not says so.
#[test]
fn messy_files() {
    let harness = Harness::with(&[]);
    std::fs::create_dir_all(harness.path("sub/deeper")).unwrap();
    std::fs::create_dir(harness.path("links")).unwrap();
    harness.file("sub/a.txt", "-r deeper/b.txt\n-c ../sub/c.txt\nin-a\n");
    harness.file("sub/deeper/b.txt", "in-b\n-r ../d.txt\n");
    harness.file("sub/c.txt", "demo<2\n");
    harness.file("sub/d.txt", "in-d\n");
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let hashes = format!(
        "demo==1.0 \\\r\n  --hash=sha256:{a} \\\r\n  --hash=sha256:{b}\r\nother==1 --hash sha256:{b}\r\n"
    );
    let utf16: Vec<u8> = "\u{feff}demo==1.0\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut told = Vec::new();
    for (what, bytes) in [
        (
            "continued lines",
            &b"demo \\\n  >=1.0, \\\n  <2\nother==1.0 \\\n    ; python_version >= \"3\" \\\n\nlast\n"[..],
        ),
        ("hashes on several lines, CRLF", hashes.as_bytes()),
        ("a byte order mark", b"\xef\xbb\xbfdemo==1.0\r\n\r\nother ; sys_platform == \"linux\"\r\n"),
        ("UTF-16, as PowerShell writes it", &utf16),
        ("Latin 1", b"# caf\xe9\ndemo\n"),
        ("comments", b"demo==1.0 # why\n# full\n   # indented\nother\t# c\n"),
        ("white space", b"\tdemo\t==\t1.0\t\n\n   \nother\n"),
        ("no end of line", b"demo==1.0"),
        ("nothing", b"\n# nothing yet\n"),
        ("nested, from the file's own directory", b"-r sub/a.txt\n-rsub/d.txt\n--constraint=sub/c.txt\n"),
        (
            "options",
            b"-i https://user:word@one.example/simple\n--extra-index-url=https://two.example/s\n\
              -f ./links\n--pre\n--prefer-binary\n--trusted-host one.example\ndemo\n",
        ),
        ("an option of the command line", b"--no-cache-dir\ndemo\n"),
        ("options of a requirement", b"demo --config-settings \"a=b\"\n"),
        ("extras and names", b"Demo_Pkg[Extra_One, two]>=1.0,!=1.5.*\nzope.interface\nfoo (>=1.0)\nbar>=1.0,\n"),
        ("the project itself, in place", b"-e .\ndemo\n"),
        ("the project itself, with extras", b".[dev]\n"),
        ("a repository", b"-e git+https://user:word@example.org/x.git@v1#egg=x\n"),
        ("pip freeze of conda", b"demo @ file:///home/conda/feedstock_root/build/demo\n"),
        ("constraints at a URL", b"-c https://user:word@example.org/c.txt\ndemo\n"),
        ("a variable that is not set", b"demo==${OXCART_TEST_UNSET}\n"),
        ("a merge conflict", b"<<<<<<< HEAD\ndemo==1\n=======\ndemo==2\n>>>>>>> other\n"),
        ("a TOML list", b"dependencies = [\"demo\"]\n"),
    ] {
        std::fs::write(harness.path("requirements.txt"), bytes).unwrap();
        let input = Input::RequirementsFile(harness.path("requirements.txt"));
        let outcome = read(&[input]).and_then(|inputs| {
            let request = harness.request(crate::harness::arm64(), Vec::new());
            let entries = crate::entries::Entries::gather(&request, &inputs)?;
            let sdists = crate::sdists::Sdists::new(&request, &inputs)?;
            entries.check(&request.target.markers()?, &sdists)?;
            Ok(inputs)
        });
        told.push(match outcome {
            Ok(inputs) => format!("{what}:\n{}{}", inputs.fingerprint(), inputs.warnings().join("\n")),
            Err(error) => format!("{what}:\n{}", harness.told(&error)),
        });
    }
    let directory = harness.directory.path().display().to_string();
    insta::assert_snapshot!(told.join("\n").replace(&directory, "<directory>"));
}

//! What is said of a small image.

use contents::Contents;
use serde_json::{Value, json};

use crate::testing::{Image, Made};
use crate::{Inspection, Tree, page, text, tree};

/// Names that would do harm if they were markup.
const HOSTILE: &str =
    "</script><script>document.title='harm'</script><img src=x onerror=alert(1)>\x1b[2J";

fn image() -> Image {
    let mut app = Made::new(
        "oxcart app",
        "app → /app",
        &[
            ("app/main.py", "print()"),
            ("app/.wh.gone", ""),
            (
                "etc/os-release",
                "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
            ),
            ("opt/venv/lib/python3.13/site-packages/six.py", "other"),
        ],
    );
    app.files.insert("app/data.bin".into(), vec![0; 2048]);
    let mut image = Image::new(&[
        Made::wheel("numpy", "2.1", "one"),
        Made::wheel("six", "1", "six"),
        app,
    ]);
    image.annotations = json!({"org.opencontainers.image.source": HOSTILE});
    image
}

fn looked_at(image: &Image) -> (Inspection, Vec<Contents>) {
    let mut inspection = image.inspection(HOSTILE);
    let listings = image.listings();
    let contents = inspection.platforms.iter().map(|platform| {
        let layers = platform.layers.iter();
        let layers: Vec<_> = layers.map(|it| listings[&it.diff_id].clone()).collect();
        Contents::new(&layers)
    });
    let contents: Vec<_> = contents.collect();
    inspection.look(&contents, false);
    (inspection, contents)
}

#[test]
fn every_file_counts_once() {
    let (inspection, _) = looked_at(&image());
    let held = inspection.platforms[0].contents.as_ref().unwrap();
    assert_eq!(held.os.as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
    let packages = held.packages.iter().map(|it| &it.weight);
    let unowned = held.unowned.iter().map(|it| &it.weight);
    let all: Vec<_> = packages.chain(unowned).collect();
    assert_eq!(all.iter().map(|it| it.size).sum::<u64>(), held.size);
    assert_eq!(all.iter().map(|it| it.files).sum::<u64>(), held.files);
    assert_eq!(
        held.types.values().map(|it| it.size).sum::<u64>(),
        held.size
    );
    for weight in all {
        assert_eq!(weight.types.values().sum::<u64>(), weight.size);
    }
    let seen = held.layers.iter().map(|it| it.size - it.hidden.size);
    assert_eq!(seen.sum::<u64>(), held.size);
    let layers = &held.layers;
    assert_eq!(
        (layers[1].hidden.files, layers[1].hidden.size),
        (1, 3),
        "six.py"
    );
    assert_eq!(layers[2].whiteouts, 1);
    assert_eq!(layers[0].packages, ["numpy 2.1"]);
    let six = &held.packages[1];
    assert_eq!((six.name.as_str(), six.layer), ("six", 2));
    assert_eq!(held.largest[0].path, "app/data.bin");
}

#[test]
fn for_a_terminal() {
    let (inspection, contents) = looked_at(&image());
    let text = text(&inspection, true);
    assert!(!text.contains('\x1b'), "{text}");
    insta::assert_snapshot!(text);
    let options = Tree {
        depth: Some(2),
        by_layer: false,
    };
    insta::assert_snapshot!(tree(&inspection, &contents[..1], options));
    let options = Tree {
        depth: None,
        by_layer: true,
    };
    insta::assert_snapshot!(tree(&inspection, &contents[..1], options));
}

#[test]
fn the_page_has_the_document_and_no_markup_of_the_image() {
    let (inspection, _) = looked_at(&image());
    let page = page(&inspection);
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let data = page[start..].split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data, serde_json::to_value(&inspection).unwrap());
    assert_eq!(data["name"], HOSTILE);
    assert!(!page.contains("<img") && !page.contains("<script>document"));
    assert_eq!(page.matches("</script>").count(), 2);
}

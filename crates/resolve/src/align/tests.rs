use crate::harness::{Harness, arm64, pins, requirements_of, wait};
use crate::{Arch, Misaligned, Request, Resolution, Target, align, resolve};

fn requests(harness: &Harness, requirements: &[&str]) -> Vec<Request> {
    let amd64 = Target {
        arch: Arch::X86_64,
        ..arm64()
    };
    [amd64, arm64()]
        .map(|target| harness.request(target, requirements_of(requirements)))
        .to_vec()
}

/// The pins of amd64 and arm64, and what could not be aligned.
fn aligned(requests: &[Request]) -> (Vec<Vec<String>>, Vec<Misaligned>) {
    wait(async {
        let mut resolutions: Vec<Resolution> = Vec::new();
        for request in requests {
            resolutions.push(resolve(request).await.unwrap());
        }
        let misaligned = align(requests, &mut resolutions).await;
        (resolutions.iter().map(pins).collect(), misaligned)
    })
}

#[test]
fn a_version_for_one_machine_gives_way_to_one_for_both() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=native, pure",
        "pure-1.0-py3-none-any.whl",
        "native-2.2-cp313-cp313-manylinux_2_17_x86_64.whl needs=pure<1",
        "native-2.1-cp313-cp313-manylinux_2_17_aarch64.whl",
        "native-2.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "native-2.0-cp313-cp313-manylinux_2_17_aarch64.whl",
        "pure-0.9-py3-none-any.whl",
    ]);
    let (pins, misaligned) = aligned(&requests(&harness, &["app"]));
    // 2.1 has no wheel for amd64, so arm64 goes down to 2.0 as well; pure comes up with it.
    assert_eq!(pins[0], ["app==1.0", "native==2.0", "pure==1.0"]);
    assert_eq!(pins[1], pins[0]);
    assert_eq!(misaligned, []);
}

#[test]
fn what_agrees_is_not_resolved_again() {
    let harness = Harness::with(&[
        "native-2.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "native-2.0-cp313-cp313-manylinux_2_17_aarch64.whl",
        "native-2.1-cp313-cp313-manylinux_2_17_x86_64.whl",
    ]);
    // As the preferences of an older lock have it.
    let mut requests = requests(&harness, &["native"]);
    for request in &mut requests {
        request.prefer = [("native".to_owned(), "2.0".to_owned())].into();
    }
    wait(async {
        let mut resolutions = Vec::new();
        for request in &requests {
            resolutions.push(resolve(request).await.unwrap());
        }
        harness.index.forget();
        assert_eq!(align(&requests, &mut resolutions).await, []);
        assert_eq!(harness.index.requests("*"), 0);
        assert_eq!(pins(&resolutions[0]), ["native==2.0"]);
    });
}

#[test]
fn a_local_version_on_one_machine_only_is_the_same_version() {
    let harness = Harness::with(&[
        "torch-2.1+cpu-cp313-cp313-manylinux_2_17_x86_64.whl",
        "torch-2.1-cp313-cp313-manylinux_2_17_aarch64.whl",
        "torch-2.0-py3-none-any.whl",
    ]);
    let (pins, misaligned) = aligned(&requests(&harness, &["torch"]));
    assert_eq!(pins, [["torch==2.1+cpu"], ["torch==2.1"]]);
    assert_eq!(misaligned, []);
}

#[test]
fn a_local_version_comes_down_with_its_public_one() {
    let harness = Harness::with(&[
        "torch-2.2+cpu-cp313-cp313-manylinux_2_17_x86_64.whl",
        "torch-2.1+cpu-cp313-cp313-manylinux_2_17_x86_64.whl",
        "torch-2.1-cp313-cp313-manylinux_2_17_aarch64.whl",
    ]);
    let (pins, misaligned) = aligned(&requests(&harness, &["torch"]));
    assert_eq!(pins, [["torch==2.1+cpu"], ["torch==2.1"]]);
    assert_eq!(misaligned, []);
}

#[test]
fn a_conflict_keeps_versions_apart_and_nothing_else() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=native, native>=2.1; platform_machine == 'x86_64'",
        "native-2.1-cp313-cp313-manylinux_2_17_x86_64.whl",
        "native-2.0-py3-none-any.whl",
        "other-1.1-cp313-cp313-manylinux_2_17_aarch64.whl",
        "other-1.0-py3-none-any.whl",
    ]);
    let (pins, misaligned) = aligned(&requests(&harness, &["app", "other"]));
    assert_eq!(pins[0], ["app==1.0", "native==2.1", "other==1.0"]);
    assert_eq!(pins[1], ["app==1.0", "native==2.0", "other==1.0"]);
    let [native] = &misaligned[..] else {
        panic!("{misaligned:?}")
    };
    let versions = [(0, "2.1".to_owned()), (1, "2.0".to_owned())];
    assert_eq!(
        (&native.versions[..], native.against),
        (&versions[..], Some(0))
    );
    insta::assert_snapshot!(native.why);
}

#[test]
fn no_image_goes_back_by_a_major_version_for_another() {
    let harness = Harness::with(&[
        "native-2.2-cp313-cp313-manylinux_2_17_x86_64.whl",
        "native-2.1-cp313-cp313-manylinux_2_17_aarch64.whl",
        "native-1.0-py3-none-any.whl",
    ]);
    let (pins, misaligned) = aligned(&requests(&harness, &["native"]));
    assert_eq!(pins, [["native==2.2"], ["native==2.1"]]);
    insta::assert_snapshot!(misaligned[0].why);
}

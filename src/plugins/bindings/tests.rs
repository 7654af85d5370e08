#[test]
fn a_version_that_was_released_is_never_edited() {
    use crate::plugins::digest::Digest;
    let released = [(
        include_bytes!("../../../wit/router.wit").as_slice(),
        "787e3c375828d6d52cc87d667fee7b458bc8d21d747302f4e61f56fd3f15e602",
    )];
    for (wit, digest) in released {
        assert_eq!(
            Digest::of(wit).to_string(),
            digest,
            "see docs/interface.md: make a new version"
        );
    }
}

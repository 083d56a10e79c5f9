use proptest::prelude::*;

use super::*;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn short_names_are_completed() {
    let digest = format!("sha256:{HEX}");
    let cases = [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("a/b/c:1", "docker.io/a/b/c:1", "a/b/c:1"),
        (
            "docker.io/nginx",
            "docker.io/library/nginx:latest",
            "nginx:latest",
        ),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
        (
            "localhost:5000/a:1",
            "localhost:5000/a:1",
            "localhost:5000/a:1",
        ),
        ("r.io/a", "r.io/a:latest", "r.io/a:latest"),
        ("R/a", "R/a:latest", "R/a:latest"),
        ("r:80/a/b:V_1.2-x", "r:80/a/b:V_1.2-x", "r:80/a/b:V_1.2-x"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        (
            "127.0.0.1:5000/a",
            "127.0.0.1:5000/a:latest",
            "127.0.0.1:5000/a:latest",
        ),
        (
            "a__b/c--d/e.f:x",
            "docker.io/a__b/c--d/e.f:x",
            "a__b/c--d/e.f:x",
        ),
        (
            &format!("nginx@{digest}"),
            &format!("docker.io/library/nginx@{digest}"),
            &format!("nginx@{digest}"),
        ),
        (
            &format!("nginx:1@{digest}"),
            &format!("docker.io/library/nginx:1@{digest}"),
            &format!("nginx:1@{digest}"),
        ),
    ];
    for (text, full, familiar) in cases {
        let reference: Reference = text.parse().expect(text);
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(full.parse(), Ok(reference), "{text}");
    }
}

#[test]
fn a_digest_decides_and_the_tag_beside_it_does_not() {
    let both: Reference = format!("nginx:1@sha256:{HEX}").parse().unwrap();
    assert_eq!(both.selector(), format!("sha256:{HEX}"));
    assert_eq!(
        both.canonical(),
        format!("docker.io/library/nginx@sha256:{HEX}")
    );
    let tag: Reference = "nginx:1".parse().unwrap();
    assert_eq!(tag.selector(), "1");
    assert_eq!(tag.canonical(), "docker.io/library/nginx:1");
}

#[test]
fn what_names_no_image_is_refused_in_the_words_of_kubernetes() {
    let lower = "invalid reference format: repository name";
    let cases = [
        ("", "invalid reference format"),
        (" ", "invalid reference format"),
        ("a b", "invalid reference format"),
        (":latest", "invalid reference format"),
        ("nginx:", "invalid reference format"),
        ("nginx@", "invalid reference format"),
        ("nginx::1", "invalid reference format"),
        ("nginx:-x", "invalid reference format"),
        ("/nginx", "invalid reference format"),
        ("nginx/", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a-", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("r.io:x/a", "invalid reference format"),
        ("r..io/a", "invalid reference format"),
        ("-r.io/a", "invalid reference format"),
        ("[::1/a", "invalid reference format"),
        ("https://r.io/a", "invalid reference format"),
        ("ä", "invalid reference format"),
        ("../../etc/passwd", "invalid reference format"),
        (
            "Nginx",
            &format!("{lower} (library/Nginx) must be lowercase"),
        ),
        ("r.io/A/b:1", &format!("{lower} (A/b) must be lowercase")),
        ("nginx@sha256:abc", "invalid reference format"),
        (&format!("nginx@md5:{HEX}"), "unsupported digest algorithm"),
        (
            &format!("nginx@sha256:{HEX}00"),
            "invalid checksum digest length",
        ),
        (
            HEX,
            &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        ),
        (
            &format!("a:{}", "x".repeat(129)),
            "invalid reference format",
        ),
        (
            &format!("r.io/{}", "x".repeat(256)),
            "repository name must not be more than 255 characters",
        ),
    ];
    for (text, error) in cases {
        let refused = text.parse::<Reference>().expect_err(text);
        assert_eq!(refused.to_string(), error, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_breaks_the_parser_and_what_it_takes_it_gives_back(text in "\\PC{0,40}|[a-z.:/@_-]{0,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            prop_assert_eq!(reference.familiar().parse(), Ok(reference));
        }
    }
}

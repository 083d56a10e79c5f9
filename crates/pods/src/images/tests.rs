use super::*;

fn images(rules: &[&str]) -> Images {
    Images {
        aliases: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        hide: vec!["/hidden".into()],
        store: None,
    }
}

fn here(images: &Images, name: &str) -> Resolved {
    match images.locate(name) {
        Ok(Place::Here(image)) => *image,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn an_alias_is_told_and_what_has_none_is_itself() {
    let images = images(&["contoso/*=sealane.io/echo", "base=sealane.io/host"]);
    let found = here(&images, "contoso/web:2");
    assert_eq!(found.image, Image::Echo);
    assert!(
        found.id.starts_with("sealane.io/echo@sealane:"),
        "{found:?}"
    );
    assert_eq!(
        present("contoso/web:2", found.alias.as_ref()),
        "Container image \"contoso/web:2\" already present on machine: \
         by the alias contoso/* it is sealane.io/echo"
    );
    let hide = vec!["/hidden".into()];
    assert_eq!(here(&images, "base").image, Image::Host { hide });
    assert_eq!(here(&images, "sealane.io/echo").alias, None);
    assert!(!present("sealane.io/echo", None).contains("alias"));
}

#[test]
fn what_is_not_built_in_is_in_the_store_or_cannot_be_had() {
    let without = images(&["web=registry.local/web:1"]);
    let refused = |images: &Images, name: &str| images.locate(name).unwrap_err();
    assert_eq!(refused(&without, "nginx").reason, PULL_FAILED);
    let with = Images {
        store: Some(Store::open("/nowhere")),
        ..without
    };
    let Ok(Place::Elsewhere(name)) = with.locate("web") else {
        panic!("web is not looked for");
    };
    assert_eq!(name.reference.canonical(), "registry.local/web:1");
    assert!(name.alias.is_some());
    let refusal = refused(&with, "Nginx");
    assert_eq!(refusal.reason, INVALID);
    let words = "Failed to apply default image tag \"Nginx\": couldn't parse image name \"Nginx\": invalid reference format";
    assert!(refusal.message.starts_with(words), "{refusal:?}");
    assert_eq!(refused(&with, "sealane.io/echo:v2").reason, PULL_FAILED);
    assert_eq!(with.find(&name, "u", Path::new("/none")), Ok(None));
}

#[test]
fn the_echo_image_learns_what_it_stands_in_for() {
    let container: Container = serde_json::from_value(serde_json::json!({
        "name": "c", "image": "contoso/web",
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
    }))
    .unwrap();
    let images = images(&["contoso/*=sealane.io/echo"]);
    let args = here(&images, "contoso/web")
        .stand_in(&container, vec!["serve".into()])
        .unwrap();
    assert_eq!(
        args.join(" "),
        "--in-place-of contoso/web --declared 80/TCP,53/UDP -- serve"
    );
    let itself = here(&images, "sealane.io/echo");
    assert_eq!(itself.stand_in(&container, Vec::new()), None);
}

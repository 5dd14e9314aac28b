use super::*;

fn plan(settings: Settings) -> Plan {
    settings.checked().unwrap()
}

#[test]
fn binds_to_loopback_until_a_secret_is_set() {
    let http = plan(Settings::default()).http;
    assert_eq!(http.addresses, ["127.0.0.1:8080".parse().unwrap()]);
    let turn = plan(Settings::default()).turn.unwrap();
    let loopback: [SocketAddr; 1] = ["127.0.0.1:3478".parse().unwrap()];
    assert_eq!(turn.listen.addresses, loopback);
    let secret = Some("s".to_owned());
    let open = plan(Settings {
        secret,
        ..Settings::default()
    });
    let both = ["0.0.0.0:8080", "[::]:8080"].map(|text| text.parse().unwrap());
    assert_eq!(open.http.addresses, both);
    let both = ["0.0.0.0:3478", "[::]:3478"].map(|text| text.parse().unwrap());
    assert_eq!(open.turn.unwrap().listen.addresses, both);
    // STUN is where the page is.
    let named = ["192.0.2.1:80", "[2001:db8::1]:80", "127.0.0.1:80"];
    let named = plan(Settings {
        http: named.map(|text| text.parse().unwrap()).to_vec(),
        ..Settings::default()
    });
    let both = ["192.0.2.1:3478", "[2001:db8::1]:3478"].map(|text| text.parse().unwrap());
    assert_eq!(named.turn.unwrap().listen.addresses, both);
}

#[test]
fn addresses_are_one_or_a_list() {
    let folder = std::env::temp_dir().join(format!("twocan-listen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("twocan.toml");
    let read = |text: &str, flag: &[&str]| -> Vec<String> {
        std::fs::write(&file, text).unwrap();
        let settings = Settings {
            config: Some(file.clone()),
            stun: flag.iter().map(|text| text.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let turn = settings.plan().unwrap().turn.unwrap();
        let all = turn.listen.addresses.iter();
        all.map(SocketAddr::to_string).collect()
    };
    let one = "stun = \"192.0.2.1:443\"\n";
    assert_eq!(read(one, &[]), ["192.0.2.1:443"]);
    let two = "stun = [\"0.0.0.0:3478\", \"[2001:db8::1]:443\"]\n";
    assert_eq!(read(two, &[]), ["0.0.0.0:3478", "[2001:db8::1]:443"]);
    assert_eq!(read(two, &["[::1]:0"]), ["[::1]:0"]);
    // Behaviour discovery is where it can be.
    let other = "stun_other = \"[2001:db8::2]:3479\"\n";
    assert_eq!(
        read(&format!("{two}{other}"), &[]),
        ["[2001:db8::1]:443", "0.0.0.0:3478"]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn halves_and_contradictions_are_refused() {
    let refused = |settings: Settings| settings.checked().err().map(|error| error.to_string());
    let cert = Some(PathBuf::from("c"));
    let half = Settings {
        tls_cert: cert.clone(),
        ..Settings::default()
    };
    assert!(refused(half).unwrap().contains("belong together"));
    let twice = Settings {
        tls_cert: cert,
        tls_key: Some("k".into()),
        tls_self_signed: Some(true),
        ..Settings::default()
    };
    assert!(refused(twice).unwrap().contains("exclude"));
    let turn = Settings {
        turn_urls: vec!["turn:t".into()],
        ..Settings::default()
    };
    assert!(refused(turn).unwrap().contains("--turn-secret"));
    let secret = Settings {
        secret: Some(String::new()),
        ..Settings::default()
    };
    assert!(refused(secret).unwrap().contains("empty"));
}

#[test]
fn flags_win_over_the_file_and_unknown_names_are_refused() {
    let folder = std::env::temp_dir().join(format!("twocan-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("twocan.toml");
    std::fs::write(
        &file,
        "rooms = 7\npeers_per_room = 3\nhttp = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    let settings = Settings {
        config: Some(file.clone()),
        rooms: Some(9),
        ..Settings::default()
    };
    let plan = settings.plan().unwrap();
    let before = settings.merged().unwrap();
    assert_eq!(plan.hall.limits.rooms, 9);
    assert_eq!(plan.hall.limits.peers_per_room, 3);
    assert_eq!(plan.http.addresses, ["127.0.0.1:1".parse().unwrap()]);
    let differences = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let fresh = settings.merged().unwrap();
        let applied = before.with_changeable_of(&fresh);
        applied.differences(&fresh).unwrap()
    };
    assert_eq!(
        differences("rooms = 1\npeers_per_room = 3\nhttp = \"127.0.0.1:1\"\n"),
        [""; 0]
    );
    let text = "peers_per_room = 4\nturn_total = 5\nturn_users = [\"a:b\"]\n";
    assert_eq!(differences(text), ["http", "peers_per_room"]);
    std::fs::write(&file, "roms = 7\n").unwrap();
    let error = Settings {
        config: Some(file),
        ..Settings::default()
    }
    .plan()
    .err()
    .unwrap();
    let SettingsError::File(error) = error else {
        panic!("{error}")
    };
    assert!(error.to_string().contains("roms"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

use super::super::settings::Settings;
use super::super::tokens_settings;
use super::*;
use crate::serve::access::Revoked;
use std::sync::Mutex;
use twocan_room::Config;

/// A task without media, as whoever owns the commands sees it.
fn task() -> (Task, mpsc::Sender<Command>, mpsc::Receiver<ShownToken>) {
    let tokens = tokens_settings::plan(&Settings::default()).unwrap();
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (told_to, told) = mpsc::channel(TOLD_MAX);
    let (tokens_to, shown) = mpsc::channel(1);
    let config = Config {
        topology: Topology::Sfu,
        ..Config::default()
    };
    let task = Task {
        hall: Hall::new(config, Random::new([7; 32])),
        sessions: Sessions::default(),
        access: Arc::new(Access::new(None, &tokens)),
        tokens: tokens_to,
        webhooks: Webhooks::start(None),
        media: None,
        told,
        _told_to: told_to,
        commands,
        outgoing: BTreeMap::new(),
        channels: Channels::default(),
        idle: Vec::new(),
    };
    (task, sender, shown)
}

fn somebody() -> Admission {
    Admission {
        token_id: Some("t".into()),
        ..Admission::default()
    }
}

fn joins() -> Joins {
    Joins {
        room: "den".into(),
        protocol: Protocol::V1,
        own: OwnUrls::default(),
        admission: somebody(),
    }
}

fn revoke(access: &Access) {
    let until = clock::now().wallclock + Duration::from_secs(60);
    assert!(access.revoke(Revoked::Token("t".into()), until));
}

/// Comes to look on; its id.
fn comes(task: &mut Task) -> Result<String, GuestRefusal> {
    let (id, mut named) = oneshot::channel();
    let (answer, _answered) = oneshot::channel();
    task.act(Command::Exchange {
        room: "den".into(),
        admission: somebody(),
        purpose: GuestPurpose::LooksOn,
        offer: String::new(),
        id,
        answer,
    });
    named.try_recv().unwrap()
}

#[test]
fn who_is_revoked_while_it_is_let_in_stays_out() {
    let (mut task, _sender, _shown) = task();
    revoke(&task.access);
    let (to, mut outgoing) = mpsc::channel(16);
    let id = ConnectionId(1);
    let joins = joins();
    task.act(Command::Connected { id, joins, to });
    let closed = outgoing.try_recv().unwrap();
    assert!(matches!(
        closed,
        Outgoing::Close(CloseCode::PolicyViolation, "token_revoked")
    ));
    task.act(Command::Text(id, r#"{"event":"join"}"#.into()));
    task.settle();
    assert_eq!(task.hall.peer_count(), 0);
    assert_eq!(comes(&mut task), Err(GuestRefusal::NotPermitted));
}

#[test]
fn who_is_revoked_while_its_session_is_made_has_none() {
    let (mut task, _sender, _shown) = task();
    let registered = Arc::new(Mutex::new(0));
    let welcome = |task: &mut Task, id: String| {
        let (welcomed, mut done) = oneshot::channel();
        let registered = registered.clone();
        let registers = Box::new(move || *registered.lock().unwrap() += 1);
        let comes = Comes::LooksOn;
        task.act(Command::Welcome {
            id,
            comes,
            registers,
            welcomed,
        });
        done.try_recv().unwrap()
    };
    let first = comes(&mut task).unwrap();
    assert_eq!(welcome(&mut task, first), Ok(()));
    let second = comes(&mut task).unwrap();
    task.hall.revoke(clock::now(), None, Some("t"), None);
    assert_eq!(welcome(&mut task, second), Err(GuestRefusal::NotPermitted));
    assert_eq!(*registered.lock().unwrap(), 1);
}

#[test]
fn who_hangs_up_while_it_is_let_in_does_not_stay() {
    let (mut task, _sender, _shown) = task();
    let (id, named) = oneshot::channel();
    let (answer, _answered) = oneshot::channel();
    drop(named);
    task.act(Command::Exchange {
        room: "den".into(),
        admission: somebody(),
        purpose: GuestPurpose::LooksOn,
        offer: String::new(),
        id,
        answer,
    });
    task.settle();
    assert_eq!(task.hall.room_count(), 0);
}

#[test]
fn tokens_that_nobody_can_look_at_yet_are_refused() {
    let (mut task, _sender, mut shown) = task();
    let (to, mut outgoing) = mpsc::channel(16);
    let id = ConnectionId(1);
    let joins = joins();
    task.act(Command::Connected { id, joins, to });
    for text in [
        r#"{"event":"join"}"#,
        r#"{"event":"token","id":1,"data":{"token":"a"}}"#,
        r#"{"event":"token","id":2,"data":{"token":"b"}}"#,
    ] {
        task.act(Command::Text(id, text.into()));
        task.settle();
    }
    let mut told = Vec::new();
    while let Ok(Outgoing::Text(text)) = outgoing.try_recv() {
        told.push(serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
    let refused: Vec<_> = told.iter().filter(|own| own["event"] == "error").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["id"], &refused[0]["data"]["details"]),
        (&2.into(), &"the server is busy".into())
    );
    // One that is revoked while it is looked at does not count.
    revoke(&task.access);
    task.act(Command::Renew(shown.try_recv().unwrap(), Ok(somebody())));
    task.settle();
    let Ok(Outgoing::Text(text)) = outgoing.try_recv() else {
        panic!("an answer");
    };
    assert!(text.contains("the token was revoked"), "{text}");
}

/// A hall whose task runs, and somebody whose media goes through the server.
async fn running() -> (HallHandle, ConnectionId, mpsc::Receiver<Outgoing>) {
    let (task, sender, _shown) = task();
    let hall = HallHandle(sender);
    tokio::spawn(task.run());
    let (to, outgoing) = mpsc::channel(16);
    let id = ConnectionId(1);
    hall.connected(id, joins(), to).await;
    hall.text(id, r#"{"event":"join"}"#.into()).await;
    (hall, id, outgoing)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_waits_until_the_last_call_through_it_is_over() {
    const PATIENCE: Duration = Duration::from_secs(600);
    let (hall, id, _outgoing) = running().await;
    let draining = hall.drain(PATIENCE, PATIENCE);
    let leaving = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        hall.text(id, r#"{"event":"leave"}"#.into()).await;
    };
    let before = tokio::time::Instant::now();
    tokio::join!(draining, leaving);
    let took = before.elapsed();
    assert!((60..70).contains(&took.as_secs()), "{took:?}");
    // Nobody is left.
    let before = tokio::time::Instant::now();
    hall.drain(PATIENCE, PATIENCE).await;
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_does_not_wait_for_ever() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let (hall, _id, mut outgoing) = running().await;
    let before = tokio::time::Instant::now();
    hall.drain(PATIENCE, PATIENCE).await;
    assert_eq!(before.elapsed().as_secs(), 30);
    hall.end().await;
    let mut last = None;
    while let Ok(sent) = outgoing.try_recv() {
        last = Some(sent);
    }
    assert!(matches!(
        last,
        Some(Outgoing::Close(CloseCode::GoingAway, "shutdown"))
    ));
}

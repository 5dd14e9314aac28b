//! Silence, and beginning anew.

use super::*;

#[test]
fn consent_ends_after_thirty_seconds_of_silence_exactly() {
    let mut net = ready(4);
    net.run_until(Duration::from_secs(5), connected);
    let answered = net.now;
    net.dead = true;
    net.run_until(Duration::from_secs(12), |agents| {
        agents[0].state() == State::Disconnected
    });
    assert_eq!(net.agents[0].state(), State::Disconnected);
    net.run_until(Duration::from_secs(60), |agents| {
        agents[0].state() == State::Failed
    });
    let lasted = net.now - answered;
    assert!(lasted <= Duration::from_secs(30), "{lasted:?}");
    assert!(lasted > Duration::from_secs(30) - 2 * ONE_WAY - Duration::from_millis(1));
    assert_eq!(net.agents[0].route(), None);
}

#[test]
fn a_blackout_of_four_seconds_is_survived_without_a_restart() {
    let mut net = ready(5);
    net.run_until(Duration::from_secs(5), connected);
    net.dead = true;
    net.run_until(Duration::from_secs(4), |_| false);
    net.dead = false;
    net.run_until(Duration::from_secs(120), |_| false);
    assert_eq!(net.states(), [State::Completed; 2]);
}

#[test]
fn a_restart_keeps_the_route_until_the_new_pair_is_valid() {
    let mut net = ready(6);
    net.run_until(Duration::from_secs(5), connected);
    let before = net.agents[0].route();
    for agent in &mut net.agents {
        let fresh = Credentials::random(&mut net.random);
        agent.prepare_restart(net.now, fresh);
    }
    // The offerer learns the answerer's credentials last; until then both are answered.
    let credentials = net.agents[0].local_credentials().clone();
    net.agents[1].set_remote(net.now, credentials, false);
    assert_eq!(net.agents[0].route(), before);
    let candidate = net.agents[0].local_candidates()[0].clone();
    net.agents[1].add_remote_candidate(net.now, candidate);
    net.run_until(Duration::from_millis(200), |_| false);
    let credentials = net.agents[1].local_credentials().clone();
    net.agents[0].set_remote(net.now, credentials, false);
    assert!(net.agents[0].route().is_some());
    for agent in &mut net.agents {
        agent.end_of_remote_candidates(net.now);
    }
    net.run_until(Duration::from_secs(3), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    // The addresses are the same; consent is asked for all the same.
    assert_eq!(net.agents[0].route(), before);
    net.run_until(Duration::from_secs(120), |_| false);
    assert_eq!(net.states(), [State::Completed; 2]);
    for agent in &net.agents {
        assert_eq!(agent.counters().get("ice.consent_expired"), 0);
    }
}

//! How long an attach takes; reported, never asserted.

use std::io::Write;
use std::time::{Duration, Instant};

use glassdock_trace::Trace;

use crate::support::{Space, World, endpoint};

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let mut out = std::io::stderr();
    let _ = writeln!(out, "{what}: median {:.2} ms, 90 % {:.2} ms, most {:.2} ms", at(50), at(90), at(100));
}

#[test]
#[ignore = "a measurement: cargo test -p glassdock-network --release -- --ignored --nocapture speed"]
fn attach_one_after_the_other_and_eight_at_once() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let attach = |space: &Space, name: String| {
        let began = Instant::now();
        networks.attach(&Trace::off(), &space.netns, &endpoint(&name, "bridge")).expect("an endpoint");
        began.elapsed()
    };
    let spaces: Vec<_> = (0..100).map(|_| Space::new()).collect();
    world.host.within(|| {
        let times = spaces.iter().enumerate().map(|(number, space)| attach(space, format!("s{number}")));
        report("attach, one after the other", times.collect());
    });
    let spaces: Vec<_> = (0..96).map(|_| Space::new()).collect();
    let began = Instant::now();
    world.host.within(|| {
        let times = std::thread::scope(|scope| {
            let attach = &attach;
            let threads: Vec<_> = spaces
                .chunks(12)
                .enumerate()
                .map(|(thread, spaces)| {
                    scope.spawn(move || {
                        let each = spaces.iter().enumerate();
                        each.map(|(number, space)| attach(space, format!("p{thread}-{number}")))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        report("attach, eight at once", times);
    });
    let _ = writeln!(std::io::stderr(), "96 attaches, eight at once: {:?}", began.elapsed());
    world.host.within(|| {
        let times = (0..100).map(|number| {
            let began = Instant::now();
            networks.release(&Trace::off(), &format!("s{number}")).expect("a release");
            began.elapsed()
        });
        report("release", times.collect());
    });
}

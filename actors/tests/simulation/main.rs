//! A deterministic simulation of the engine: the whole of it, on one thread, in virtual time, over a store that fails in
//! every way in which a database does. A seed decides everything, so a run that fails can be repeated step by step.
//!
//! `CTI_SIMULATION_SEED=N` runs one seed and prints its steps. `CTI_SIMULATION_SECONDS=N` runs random seeds for that long.

mod clients;
mod clock;
mod faults;
mod operator;
mod oracle;
mod ports;
mod random;
mod sender;
mod stories;
mod trace;
mod world;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    panic, process,
    sync::{Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{faults::Plant, random::Random, world::World};

/// What a task says that the simulation lets panic.
pub(crate) const PLANNED_PANIC: &str = "a simulated panic";
/// The seeds that every run of the tests tries.
const SEEDS: std::ops::Range<u64> = 0..30;
/// Seeds that have failed before.
const FOUND_SEEDS: [u64; 4] =
    [50_073_046_461_476, 173_922_440_190_467, 204_737_071_338_860, 256_931_689_566_655];
/// How long one seed may take, in real time: most take less than half a second.
const SEED_TIMEOUT: Duration = Duration::from_secs(120);

/// The outcome of one seed.
struct Run {
    steps: u64,
    digest: u64,
    lines: Vec<String>,
    result: Result<(), String>,
}

fn run(seed: u64, plant: Plant, keeps_trace: bool) -> Run {
    silence_planned_panics();
    let _watched = watch(seed);
    let world = World::new(seed, plant, keeps_trace);
    let result = world.run(seed).and_then(|()| oracle::check(&world));
    let trace = &world.trace;
    Run { steps: trace.steps(), digest: trace.digest(), lines: trace.lines(), result }
}

/// Ends the process when a seed does not end: a task that never waits can't be interrupted. It is watched until what is
/// returned is dropped.
fn watch(seed: u64) -> mpsc::Sender<()> {
    let (running, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(SEED_TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a task of seed {seed} works without end: repeat it with CTI_SIMULATION_SEED={seed}");
            process::abort();
        }
    });
    running
}

/// Keeps the panics that are a part of a simulation from being printed: there are many.
fn silence_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !text.contains(PLANNED_PANIC) && !text.contains("crashes on purpose") {
                print(info);
            }
        }));
    });
}

/// Runs a seed without a planted bug. Returns how many steps it had.
fn must_hold(seed: u64) -> u64 {
    let run = run(seed, Plant::Nothing, false);
    if let Err(problem) = run.result {
        let steps = run.lines.join("\n");
        panic!("{steps}\n\n{problem}\n\nrepeat it with CTI_SIMULATION_SEED={seed}");
    }
    run.steps
}

fn number_of(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_fails_nothing_is_lost_or_emitted_twice_and_the_state_is_that_of_a_run_without_faults() {
    if let Some(seed) = number_of("CTI_SIMULATION_SEED") {
        let run = run(seed, Plant::Nothing, true);
        eprintln!("{}\n{} steps, {:?}", run.lines.join("\n"), run.steps, run.result);
        assert_eq!(run.result, Ok(()));
        return;
    }
    let began_at = Instant::now();
    let first = RandomState::new().hash_one(0_u8) >> 16;
    let (mut seeds, mut steps) = (0, 0);
    match number_of("CTI_SIMULATION_SECONDS") {
        Some(seconds) => {
            while began_at.elapsed() < Duration::from_secs(seconds) {
                steps += must_hold(first + seeds);
                seeds += 1;
            }
        }
        None => {
            for seed in SEEDS.chain(FOUND_SEEDS).chain([first]) {
                steps += must_hold(seed);
                seeds += 1;
            }
        }
    }
    let seconds = began_at.elapsed().as_secs_f64();
    eprintln!("{seeds} seeds from {first} on, {steps} steps, {:.0} a minute", steps as f64 / seconds * 60.0);
}

#[test]
fn a_seed_gives_the_same_steps_every_time() {
    for seed in 0..16 {
        let (one, other) = (run(seed, Plant::Nothing, true), run(seed, Plant::Nothing, true));
        let differing = one.lines.iter().zip(&other.lines).position(|(one, other)| one != other);
        if let Some(step) = differing {
            panic!("seed {seed}, step {step}:\n{}\n{}", one.lines[step], other.lines[step]);
        }
        assert_eq!((one.steps, one.digest), (other.steps, other.digest), "seed {seed}");
    }
}

/// The simulation is worth something only if it sees bugs.
#[test]
fn planted_bugs_are_found() {
    for plant in [Plant::LostCommit, Plant::DroppedWebhook, Plant::RepeatedWebhook, Plant::HoleInAPage] {
        let found =
            (0..200).find_map(|seed| run(seed, plant, false).result.err().map(|problem| (seed, problem)));
        let (seed, problem) = found.unwrap_or_else(|| panic!("{plant:?} was not found"));
        eprintln!("{plant:?} was found with seed {seed}: {problem:.100}");
    }
}

#[test]
fn random_numbers_of_two_purposes_differ() {
    assert_ne!(Random::of(1, 1).next(), Random::of(1, 2).next());
}

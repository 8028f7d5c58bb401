//! Runs seeds: many, bounded in number and time, or one with everything that happens in it.

use std::process::ExitCode;

use konsul_sim::planted::Planted;
use konsul_sim::run::run;
use konsul_sim::seeds::{Plan, Summary, run_seeds};

const USAGE: &str = "usage: konsul-sim [--seeds N] [--from S] [--seconds T] [--threads N] [--bug NAME]
       konsul-sim --seed X [--trace] [--history FILE] [--bug NAME]
  bugs to plant: ack-before-fsync, vote-not-persisted, stale-lease";

struct Wanted {
    plan: Plan,
    seed: Option<u64>,
    is_printed: bool,
    history: Option<String>,
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let plan = Plan { from: 1, seeds: 1_000, seconds: 0, threads, planted: Planted::Nothing, is_told: true };
    let mut wanted = Wanted { plan, seed: None, is_printed: false, history: None };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--trace" {
            wanted.is_printed = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} is {value:?}, expected a number"));
        match word.as_str() {
            "--seeds" => wanted.plan.seeds = number()?,
            "--from" => wanted.plan.from = number()?,
            "--seconds" => wanted.plan.seconds = number()?,
            "--threads" => wanted.plan.threads = number()?.max(1),
            "--history" => wanted.history = Some(value.clone()),
            "--seed" => wanted.seed = Some(number()?),
            "--bug" => {
                let known = Planted::NAMES.iter().find(|(name, _)| name == value);
                wanted.plan.planted = known.ok_or_else(|| format!("there is no bug {value:?}"))?.1;
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match parse(&arguments) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let has_fallen = match wanted.seed {
        Some(seed) => {
            let report = run(seed, wanted.plan.planted, wanted.is_printed);
            if let Some(path) = &wanted.history {
                let lines: String = report.history.iter().map(|op| op.to_line() + "\n").collect();
                if let Err(error) = std::fs::write(path, lines) {
                    eprintln!("cannot write {path}: {error}");
                    return ExitCode::from(2);
                }
            }
            let mut summary = Summary::default();
            summary.take(report);
            summary.tell()
        }
        None => run_seeds(&wanted.plan).tell(),
    };
    if has_fallen { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

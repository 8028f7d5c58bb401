//! Reads a history from a file and says whether it is linearizable. Ends with 0: it is; 1: it is not;
//! 2: the file cannot be read; 3: the search was given up.

use std::io::BufRead as _;
use std::process::ExitCode;

use konsul_sim::history::Operation;
use konsul_sim::linearizable::{STEPS_MAX, Verdict, check};

fn read(path: &str) -> Result<Vec<Operation>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
    let mut history = Vec::new();
    for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| format!("cannot read {path}: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let operation = Operation::from_line(&line);
        history.push(operation.map_err(|why| format!("{path}:{}: {why}", number + 1))?);
    }
    Ok(history)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: check-history FILE (one JSON object a line, see core/sim/README.md)");
        return ExitCode::from(2);
    };
    let history = match read(path) {
        Ok(history) => history,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    match check(&history, STEPS_MAX) {
        Verdict::Linearizable => {
            println!("linearizable: {} operations", history.len());
            ExitCode::SUCCESS
        }
        Verdict::Broken(why) => {
            println!("not linearizable: {why}");
            ExitCode::from(1)
        }
        Verdict::Undecided(why) => {
            println!("undecided: {why}");
            ExitCode::from(3)
        }
    }
}

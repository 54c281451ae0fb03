//! `roost-bench`, to be started by `scripts/bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use roost_bench::parts::{PARTS, Part};
use roost_bench::report::{self, Chapter, Setting};
use roost_bench::{Bench, Effort, Section};

/// The allocator of the service, whose actors are measured in this process, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Roost against its limits and rivals
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Args {
    /// What to measure; everything if none is named
    #[arg(value_name = "PART")]
    parts: Vec<String>,

    /// Under three minutes: enough to see that everything works, not to write figures down
    #[arg(long)]
    quick: bool,

    /// Name the parts and stop
    #[arg(long)]
    list: bool,

    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for part in PARTS {
            println!("{:<10} {}", part.name, part.about);
        }
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every part could be measured. A goal that is missed is a finding, no failure.
fn run(args: &Args) -> anyhow::Result<bool> {
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let chosen = choose(&args.parts)?;
    let setting = Setting::look(effort);
    let bench = Bench::from_environment(effort, args.out.clone())?;
    let mut chapters = Vec::new();
    for (place, part) in chosen.iter().enumerate() {
        bench.progress.part(place + 1, chosen.len(), part.name);
        chapters.push(measure(&bench, part));
        bench.progress.end();
    }
    report::write(&args.out, &setting, &chapters)?;
    println!("{}", report::table(&chapters));
    println!("{}", args.out.join("report.html").display());
    Ok(chapters.iter().all(|chapter| chapter.error.is_none()))
}

fn choose(names: &[String]) -> anyhow::Result<Vec<Part>> {
    if names.is_empty() {
        return Ok(PARTS.to_vec());
    }
    let find = |name: &String| PARTS.iter().find(|part| part.name == name).copied();
    names
        .iter()
        .map(|name| {
            let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
            find(name).ok_or_else(|| anyhow::anyhow!("no part {name:?}; there are {known:?}"))
        })
        .collect()
}

fn measure(bench: &Bench, part: &Part) -> Chapter {
    let started = Instant::now();
    let (section, error) = match (part.run)(bench) {
        Ok(section) => (section, None),
        Err(error) => (Section::default(), Some(format!("{error:#}"))),
    };
    let Part { name, about, .. } = *part;
    Chapter { name, about, seconds: started.elapsed().as_secs_f64(), error, section }
}

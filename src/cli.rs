//! The command line: what was said, what it means, and the exit code.
//!
//! Problems go to standard error, one line each; standard output is for what a command prints.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::admin_client::Page;
use crate::config::{self, Config, Environment, Problem, Problems};
use crate::mock;

mod admin_client;
mod advice;

/// Wrong on the command line or in the file (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Answers HTTPS clients by calling upstream services in parallel before a deadline.
#[derive(Debug, Parser)]
#[command(name = "gatherd", version, about, max_term_width = 100)]
struct Line {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "config.toml",
        global = true
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run; what gatherd does without a command.
    Serve,
    /// Tell every problem of the config file at once.
    Check {
        /// Show the effective config, secrets masked.
        #[arg(long)]
        print: bool,
    },
    /// Print the JSON Schema of the config file, for editors.
    Schema,
    /// Print the OpenAPI 3.1 document of the configured routes.
    Openapi,
    /// Tell what the running service says of itself.
    Status,
    /// Exit with 0 when the running service is ready, for container probes.
    Healthcheck,
    /// Run the stand-in upstream on its own.
    Mock(mock::Arguments),
}

/// Runs the program as the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version are no errors and go to standard output; a closed pipe is no fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match line.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            let _ = writeln!(io::stderr().lock(), "{problems}");
            ExitCode::from(problems.exit_code())
        }
    }
}

impl Line {
    fn run(self) -> Result<(), Problems> {
        match &self.command {
            None | Some(Command::Serve) => crate::app::serve(&self.config),
            Some(Command::Check { print }) => self.check(*print),
            Some(Command::Schema) => print_text(&pretty(&config::schema())),
            Some(Command::Openapi) => {
                print_text(&pretty(&crate::http::openapi(&self.load()?.settings)))
            }
            Some(Command::Status) => print_text(&self.ask(Page::Status)?),
            Some(Command::Healthcheck) => self.ask(Page::Readiness).map(drop),
            Some(Command::Mock(arguments)) => crate::app::serve_mock(&arguments.clone().into()),
        }
    }

    fn load(&self) -> Result<Config, Problems> {
        config::load(&self.config, &Environment::of_process())
    }

    /// What the running service answers. It may go by what the file said before: only when it does not
    /// answer does it matter what is wrong with the file.
    fn ask(&self, page: Page) -> Result<String, Problems> {
        let admin = config::admin(&self.config, &Environment::of_process())?;
        admin_client::page(admin.as_ref(), page).map_err(|problem| {
            let wrong = self.load().err();
            let all = wrong.iter().flat_map(Problems::iter).cloned();
            all.chain([problem]).collect()
        })
    }

    /// Standard output says what is fine, or with `--print` is a config file that means the same;
    /// advice goes to standard error then.
    fn check(&self, print: bool) -> Result<(), Problems> {
        let environment = Environment::of_process();
        let (config, warnings) = config::load_and(&self.config, &environment, crate::app::check)?;
        let mut advice = advice::of(&config.settings);
        advice.warnings.extend(warnings);
        let name = self.config.display();
        if print {
            for line in &advice.warnings {
                let _ = writeln!(io::stderr().lock(), "{name}: {line}");
            }
            return print_text(&config.print());
        }
        let mut text = format!("{name}: ok\n");
        for line in advice.facts.iter().chain(&advice.warnings) {
            text.push_str(&format!("{name}: {line}\n"));
        }
        print_text(&text)
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Writes to standard output. A reader that has gone (`gatherd schema | head`) is no problem.
fn print_text(text: &str) -> Result<(), Problems> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::unavailable("standard output", error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn without_a_command_gatherd_serves_the_config_beside_it() {
        let line = Line::try_parse_from(["gatherd"]).unwrap();
        assert!(line.command.is_none());
        assert_eq!(line.config, PathBuf::from("config.toml"));
        let line = Line::try_parse_from(["gatherd", "check", "--config", "x.toml"]).unwrap();
        assert_eq!(line.config, PathBuf::from("x.toml"));
    }
}

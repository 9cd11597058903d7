//! What `hb` says of itself, and how it behaves among other programs.

use std::process::{Command, Stdio};

use crate::support::{Done, Place, have};

#[test]
fn the_page_of_the_command_line_is_what_the_program_says() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).unwrap();
    let done = Place::new().run(&["man", "--markdown"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout == page,
        "docs/cli.md is not what the program says: run `just docs`"
    );
}

#[test]
fn help_ends_with_the_exit_codes() {
    let help = Place::new().run(&["--help"]).stdout;
    let (_, codes) = help.split_once("\nExit codes:\n").unwrap();
    let numbers: Vec<_> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        numbers,
        [
            "0", "1", "2", "3", "4", "5", "6", "7", "126", "127", "128", "130"
        ]
    );
}

#[test]
fn every_shell_gets_its_completions() {
    let place = Place::new();
    for (shell, mark) in [
        ("bash", "complete -F _hb"),
        ("zsh", "#compdef hb"),
        ("fish", "complete -c hb"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let done = place.run(&["completions", shell]);
        assert!(
            done.code == 0 && done.stdout.contains(mark),
            "{shell}: {}",
            done.stderr
        );
        assert!(
            done.stdout.contains("subscription") && done.stdout.contains("key-file"),
            "{shell}"
        );
        if shell == "bash" && have(&["bash"]) {
            let script = place.path().join("hb.bash");
            std::fs::write(&script, done.stdout).unwrap();
            assert!(
                Command::new("bash")
                    .arg("-n")
                    .arg(script)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

#[test]
fn man_pages_are_printed_and_written() {
    let place = Place::new();
    let done = place.run(&["man"]);
    assert!(
        done.code == 0 && done.stdout.contains(".TH hb 1"),
        "{}",
        done.stdout
    );
    let dir = place.path().join("man/man1");
    assert_eq!(place.run(&["man", "--dir", dir.to_str().unwrap()]).code, 0);
    let page = std::fs::read_to_string(dir.join("hb-host-pause.1")).unwrap();
    assert!(
        page.contains("hb host pause") && page.contains("\\-\\-until"),
        "{page}"
    );
    std::fs::write(place.path().join("file"), "").unwrap();
    let done = place.run(&[
        "man",
        "--dir",
        place.path().join("file/man").to_str().unwrap(),
    ]);
    assert!(
        done.code == 3 && done.stderr.contains("--dir"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_closed_pipe_is_not_a_failure_of_any_command() {
    let place = Place::new();
    place.key(&[]);
    let commands: [&[&str]; 9] = [
        &["--help"],
        &["host", "list"],
        &["host", "list", "--output", "json"],
        &["subscription", "list"],
        &["doctor"],
        &["doctor", "--output", "json"],
        &["completions", "zsh"],
        &["man"],
        &["man", "--markdown"],
    ];
    for args in commands {
        let mut hb = place
            .hb(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(hb.stdout.take());
        let done = Done::from(hb.wait_with_output().unwrap());
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn colour_is_for_terminals_and_not_for_those_who_want_none() {
    let place = Place::new();
    let coloured = |env: &[(&str, &str)]| {
        let output = place
            .hb(&["doctor"])
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Done::from(output).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    let json = place
        .hb(&["doctor", "--output", "json"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(!Done::from(json).stdout.contains('\u{1b}'), "never in JSON");
}

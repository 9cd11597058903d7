//! Help, completions and man pages; pipes and colour.

use std::process::{Command, Stdio};

use crate::support::{Done, Sandbox, have};

#[test]
fn docs_cli_md_is_up_to_date() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).unwrap();
    let done = Sandbox::new().run(&["man", "--markdown"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout == page,
        "docs/cli.md is outdated: run `just docs`"
    );
}

#[test]
fn help_lists_the_exit_codes() {
    let help = Sandbox::new().run(&["--help"]).stdout;
    let (_, codes) = help.split_once("\nExit codes:\n").unwrap();
    let numbers: Vec<_> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        numbers,
        [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "126", "127", "128", "130"
        ]
    );
}

#[test]
fn completions_are_printed_for_every_shell() {
    let sandbox = Sandbox::new();
    for (shell, mark) in [
        ("bash", "complete -F _hb"),
        ("zsh", "#compdef hb"),
        ("fish", "complete -c hb"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let done = sandbox.run(&["completions", shell]);
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
            let script = sandbox.path().join("hb.bash");
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
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["man"]);
    assert!(
        done.code == 0 && done.stdout.contains(".TH hb 1"),
        "{}",
        done.stdout
    );
    let dir = sandbox.path().join("man/man1");
    assert_eq!(
        sandbox.run(&["man", "--dir", dir.to_str().unwrap()]).code,
        0
    );
    let page = std::fs::read_to_string(dir.join("hb-host-pause.1")).unwrap();
    assert!(
        page.contains("hb host pause") && page.contains("\\-\\-until"),
        "{page}"
    );
    std::fs::write(sandbox.path().join("file"), "").unwrap();
    let done = sandbox.run(&[
        "man",
        "--dir",
        sandbox.path().join("file/man").to_str().unwrap(),
    ]);
    assert!(
        done.code == 3 && done.stderr.contains("--dir"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_closed_pipe_is_not_a_failure_of_any_command() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&[]);
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
        let mut hb = sandbox
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
fn colour_is_printed_on_request_and_never_with_no_color() {
    let sandbox = Sandbox::new();
    let coloured = |env: &[(&str, &str)]| {
        let output = sandbox
            .hb(&["doctor"])
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Done::from(output).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    let json = sandbox
        .hb(&["doctor", "--output", "json"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(!Done::from(json).stdout.contains('\u{1b}'), "never in JSON");
}

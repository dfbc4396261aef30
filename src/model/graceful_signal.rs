//! Servers whose graceful signal is not SIGTERM, or not every usual one.

use super::signal::Signal;

/// A server that is known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// What people call it.
    pub name: &'static str,
    /// The names of its program.
    programs: &'static [&'static str],
    /// The signal by which it drains.
    pub graceful: &'static str,
    /// Those by which it ends without that.
    quick: &'static [&'static str],
}

/// From their manuals: nginx(8) "Controlling nginx"; Apache "Stopping and Restarting"; HAProxy
/// management guide, section 4; php-fpm(8); unicorn(1) SIGNALS; lighttpd(8); gunicorn "Signal
/// Handling".
const KNOWN: [KnownServer; 7] = [
    KnownServer {
        name: "nginx",
        programs: &["nginx", "openresty"],
        graceful: "QUIT",
        quick: &["TERM", "INT"],
    },
    KnownServer {
        name: "Apache httpd",
        programs: &["httpd", "apache2"],
        graceful: "WINCH",
        quick: &["TERM", "INT"],
    },
    KnownServer {
        name: "HAProxy",
        programs: &["haproxy"],
        graceful: "USR1",
        quick: &["TERM", "INT"],
    },
    KnownServer {
        name: "php-fpm",
        programs: &["php-fpm"],
        graceful: "QUIT",
        quick: &["TERM", "INT"],
    },
    KnownServer {
        name: "unicorn",
        programs: &["unicorn", "unicorn_rails"],
        graceful: "QUIT",
        quick: &["TERM", "INT"],
    },
    KnownServer { name: "lighttpd", programs: &["lighttpd"], graceful: "INT", quick: &["TERM"] },
    KnownServer {
        name: "gunicorn",
        programs: &["gunicorn"],
        graceful: "TERM",
        quick: &["QUIT", "INT"],
    },
];

impl KnownServer {
    /// The server that a command starts, or whose program one of the processes is.
    pub fn of<'n>(
        command: &'n [String],
        processes: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'static KnownServer> {
        // The words of a shell's script stand in one argument.
        let words = command.iter().flat_map(|argument| argument.split_whitespace());
        let programs: Vec<&str> =
            words.map(|word| word.rsplit('/').next().unwrap_or(word)).chain(processes).collect();
        KNOWN.iter().find(|known| programs.iter().any(|program| known.is(program)))
    }

    /// Whether a program is this server's: distributions put versions behind names.
    fn is(&self, program: &str) -> bool {
        let base = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        self.programs.contains(&program) || self.programs.contains(&base)
    }

    /// What to say where a signal that is not its graceful one was sent.
    pub fn advice(&self, sent: Signal) -> Option<String> {
        let is = |name: &&str| name.parse() == Ok(sent);
        let graceful: Signal = self.graceful.parse().ok()?;
        self.quick.iter().find(|name| is(name)).map(|_| {
            format!(
                "{} takes {sent} as a fast shutdown: its graceful signal is {graceful} (--signal {})",
                self.name, self.graceful
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &[&str], processes: &[&str]) -> Option<&'static str> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        KnownServer::of(&command, processes.iter().copied()).map(|known| known.name)
    }

    #[test]
    fn a_server_is_known_by_its_program_or_its_processes() {
        assert_eq!(server(&["/usr/sbin/nginx", "-g", "daemon off;"], &[]), Some("nginx"));
        assert_eq!(server(&["sh", "-c", "exec /usr/sbin/apache2 -X"], &[]), Some("Apache httpd"));
        assert_eq!(server(&["./run.sh"], &["run.sh", "haproxy"]), Some("HAProxy"));
        assert_eq!(server(&["php-fpm8.2", "-F"], &[]), Some("php-fpm"));
        assert_eq!(server(&["./nginx-exporter"], &[]), None);
    }

    #[test]
    fn only_a_signal_that_cuts_off_is_advised_against() {
        let nginx = KnownServer::of(&["nginx".into()], []).unwrap();
        assert_eq!(
            nginx.advice(Signal::TERM).unwrap(),
            "nginx takes SIGTERM as a fast shutdown: its graceful signal is SIGQUIT (--signal QUIT)"
        );
        assert_eq!(nginx.advice("QUIT".parse().unwrap()), None);
        let gunicorn = KnownServer::of(&["gunicorn".into()], []).unwrap();
        assert_eq!(gunicorn.advice(Signal::TERM), None);
    }

    #[test]
    fn every_signal_of_the_table_has_a_number() {
        for known in KNOWN {
            for name in known.quick.iter().chain([&known.graceful]) {
                assert!(name.parse::<Signal>().is_ok(), "{}: {name}", known.name);
            }
        }
    }
}

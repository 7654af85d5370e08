//! What Linux says of a process in `/proc`.

use std::time::Duration;

/// Ticks of the processor's time in a second: the same on every Linux.
const TICKS: u64 = 100;

/// How much time of the processors a process has taken, user and system, in steps of 10 ms: the 14th and
/// 15th field of `/proc/ID/stat`. The second field may contain anything, and ends with the last
/// parenthesis. None if that is not what the file says.
pub fn processor_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let taken = ticks.next()?.checked_add(ticks.next()?)?;
    Some(Duration::from_millis(taken.checked_mul(1000 / TICKS)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_process_took_is_read() {
        let stat = "7 (a (b) 1) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(2)));
        let no_such =
            ["", "7 (a)", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 150", &stat.replace("150", "-1")];
        for stat in no_such {
            assert_eq!(processor_time(stat), None, "{stat}");
        }
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(processor_time(&own).is_some(), "{own}");
    }
}

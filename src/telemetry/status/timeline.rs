//! The last hour, point by point. It outlasts a restart where there is a state directory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{History, Point};
use crate::files::write_whole;

/// Of the form of the file; another one's files are as good as none.
const VERSION: u32 = 1;

/// The file in the state directory.
const FILE: &str = "history.json";

/// Many times what [`Timeline::POINTS`] need.
const MAX_FILE: u64 = 1024 * 1024;

/// The points of the last hour.
#[derive(Debug)]
pub struct Timeline {
    points: VecDeque<Point>,
    file: Option<PathBuf>,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    points: Vec<Point>,
}

impl Timeline {
    /// Seconds from point to point.
    pub const STEP: u32 = 10;

    /// Points of an hour.
    pub const POINTS: usize = 360;

    /// Goes on with what `directory` holds at `now`, in seconds since 1970. A file that is not there, is
    /// broken, or is of another version is no file.
    #[must_use]
    pub fn open(directory: Option<&Path>, now: f64) -> Self {
        let file = directory.map(|directory| directory.join(FILE));
        let kept = file.as_deref().map(read);
        let points = match kept {
            Some(Ok(points)) => points,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the last hour before this start is not known");
                Vec::new()
            }
            Some(Err(_)) | None => Vec::new(),
        };
        let mut timeline = Self {
            points: VecDeque::new(),
            file,
        };
        let in_the_past = |point: &Point| point.at <= now;
        points
            .into_iter()
            .filter(in_the_past)
            .for_each(|point| timeline.add(point));
        timeline.forget_before(now);
        timeline
    }

    /// Adds the newest point, and forgets what is older than an hour, or in its future: the wall
    /// clock may have been set back.
    pub fn add(&mut self, point: Point) {
        while self.points.back().is_some_and(|last| last.at >= point.at) {
            self.points.pop_back();
        }
        self.points.push_back(point);
        self.forget_before(point.at);
    }

    fn forget_before(&mut self, now: f64) {
        let hour = f64::from(Self::STEP) * 360.0;
        let is_old = |point: &Point| point.at <= now - hour;
        while self.points.front().is_some_and(is_old) || self.points.len() > Self::POINTS {
            self.points.pop_front();
        }
    }

    /// The points later than an instant, the oldest first.
    pub fn after(&self, at: f64) -> impl Iterator<Item = Point> {
        self.points
            .iter()
            .copied()
            .filter(move |point| point.at > at)
    }

    /// All of it.
    #[must_use]
    pub fn history(&self) -> History {
        History {
            step_seconds: Self::STEP,
            points: self.points.iter().copied().collect(),
        }
    }

    /// Writes the file, whole or not at all; nothing without a state directory.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let kept = Kept {
            version: VERSION,
            points: self.points.iter().copied().collect(),
        };
        write_whole(file, &serde_json::to_vec(&kept)?)
    }
}

fn read(file: &Path) -> io::Result<Vec<Point>> {
    let mut text = String::new();
    File::open(file)?.take(MAX_FILE).read_to_string(&mut text)?;
    let kept: Kept = serde_json::from_str(&text)?;
    if kept.version != VERSION {
        return Err(io::Error::other("a file of another version"));
    }
    Ok(kept.points)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn point(at: f64) -> Point {
        Point {
            at,
            good: at / 10.0,
            p99_ms: Some(1.5),
            ..Point::default()
        }
    }

    fn instants(timeline: &Timeline) -> Vec<f64> {
        timeline.after(0.0).map(|point| point.at).collect()
    }

    #[test]
    fn it_holds_an_hour_and_no_more() {
        let mut timeline = Timeline::open(None, 0.0);
        (1..=1000).for_each(|step| timeline.add(point(f64::from(step * 10))));
        let instants = instants(&timeline);
        assert_eq!(instants.len(), Timeline::POINTS);
        assert_eq!(instants.last(), Some(&10_000.0));
        // Points in a hurry are bounded too.
        (0..1000).for_each(|step| timeline.add(point(10_001.0 + f64::from(step) / 1e3)));
        assert_eq!(timeline.history().points.len(), Timeline::POINTS);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_future_with_it() {
        let mut timeline = Timeline::open(None, 0.0);
        for at in [100.0, 110.0, 120.0, 105.0] {
            timeline.add(point(at));
        }
        assert_eq!(instants(&timeline), [100.0, 105.0]);
    }

    #[test]
    fn the_next_process_goes_on_with_the_last_hour() {
        let directory = TempDir::new().unwrap();
        let mut timeline = Timeline::open(Some(directory.path()), 0.0);
        for at in [1000.0, 4000.0, 4010.0, 9000.0] {
            timeline.add(point(at));
        }
        for at in [4000.0, 4010.0, 4020.0] {
            timeline.add(point(at));
        }
        timeline.save().unwrap();
        let file = directory.path().join(FILE);
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let next = Timeline::open(Some(directory.path()), 4015.0);
        assert_eq!(next.history().points, [point(4000.0), point(4010.0)]);
        let too_late = Timeline::open(Some(directory.path()), 10_000.0);
        assert!(instants(&too_late).is_empty());
    }

    #[test]
    fn a_file_that_is_broken_or_of_another_version_is_no_file() {
        let directory = TempDir::new().unwrap();
        let whole = serde_json::to_string(&Kept {
            version: VERSION,
            points: vec![point(10.0)],
        })
        .unwrap();
        let of_version_2 = whole.replace("\"version\":1", "\"version\":2");
        let endless = format!("{whole}{}", " ".repeat(2 << 20));
        let file = directory.path().join(FILE);
        for (text, points) in [
            (whole.as_str(), 1),
            (&whole[..whole.len() - 3], 0),
            (&of_version_2, 0),
            (&endless, 1),
            ("", 0),
            ("[]", 0),
            (r#"{"version":1,"points":[{"at":null}]}"#, 0),
        ] {
            fs::write(&file, text).unwrap();
            let timeline = Timeline::open(Some(directory.path()), 20.0);
            assert_eq!(instants(&timeline).len(), points, "{:.60}", text);
            timeline.save().unwrap();
        }
        fs::write(&file, [0xff, 0xfe]).unwrap();
        let timeline = Timeline::open(Some(directory.path()), 20.0);
        assert!(instants(&timeline).is_empty());
    }

    #[test]
    fn a_directory_that_is_not_there_costs_the_file_and_nothing_else() {
        let timeline = Timeline::open(Some(Path::new("/nowhere/at/all")), 20.0);
        assert!(instants(&timeline).is_empty());
        assert!(timeline.save().is_err());
        assert!(Timeline::open(None, 20.0).save().is_ok());
    }
}

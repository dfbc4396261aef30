//! Lines of the target's that are found elsewhere than in its output, read while it runs and once
//! more after its end.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::job_list::JobList;
use crate::model::address::{ServerAddress, kernel_name};
use crate::model::event::{EventKind, LineSource, SourceLine};
use crate::model::target::Elsewhere;
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::observe::tail::Tail;
use crate::target::output::{Output, line_text};

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_millis(10);
/// How often the list of jobs is asked for.
const LIST_EVERY: Duration = Duration::from_millis(50);
/// A file is read so often at most after the end, a few megabytes each time.
const LAST_READS_MAX: usize = 100;
/// The last question after the end waits so long for the one before it.
const LAST_LIMIT: Duration = Duration::from_secs(3);

/// What is read of one trial besides the output.
#[derive(Debug)]
pub(super) struct Sources {
    book: Book,
    files: Rc<RefCell<Vec<FileSource>>>,
    list: Option<Rc<Mutex<ListSource>>>,
    /// The path of a list that the target itself keeps.
    own_list: Option<String>,
    reading: JoinSet<()>,
}

/// Where lines are taken down.
#[derive(Clone, Debug)]
struct Book {
    recorder: Recorder,
    output: Output,
}

#[derive(Debug)]
struct FileSource {
    source: LineSource,
    tail: Tail,
    /// When it was last read.
    read: Nanos,
}

#[derive(Debug)]
struct ListSource {
    list: JobList,
    /// When it was last asked for with success.
    read: Nanos,
}

impl Sources {
    /// Begins to read, before the target is launched: what is there is not its own.
    pub(super) fn begin(
        elsewhere: &Elsewhere,
        port: u16,
        recorder: &Recorder,
        output: &Output,
    ) -> Self {
        let placed = |place: &String| place.replace("{port}", &port.to_string());
        let book = Book { recorder: recorder.clone(), output: output.clone() };
        let files = [
            (LineSource::JobFile, elsewhere.job_file.as_ref()),
            (LineSource::LogFile, elsewhere.log_file.as_ref()),
        ];
        let read = recorder.now();
        let file = |(source, path): (_, Option<&String>)| {
            Some(FileSource { source, tail: Tail::begin(placed(path?)), read })
        };
        let files: Vec<_> = files.into_iter().filter_map(file).collect();
        let is_empty = files.is_empty();
        let files = Rc::new(RefCell::new(files));
        let mut reading = JoinSet::new();
        if !is_empty {
            reading.spawn_local(follow_files(book.clone(), files.clone()));
        }
        let mut sources = Self { book, files, list: None, own_list: None, reading };
        match elsewhere.job_url.as_ref().map(placed) {
            Some(path) if path.starts_with('/') => sources.own_list = Some(path),
            Some(url) => sources.follow_list(url, None),
            None => {}
        }
        sources
    }

    /// Begins to ask the target itself, once it is known where it listens.
    pub(super) fn ask_target(&mut self, address: Option<&ServerAddress>) {
        if let (Some(path), None, Some(address)) = (&self.own_list, &self.list, address) {
            let (url, socket) = match address {
                ServerAddress::Tcp(address) => (format!("http://{address}{path}"), None),
                ServerAddress::Unix(socket) => {
                    (format!("http://localhost{path}"), Some(kernel_name(socket)))
                }
            };
            self.follow_list(url, socket);
        }
    }

    /// Reads everything once more, after the target's end.
    pub(super) async fn read_once_more(&mut self) {
        self.reading.shutdown().await;
        let source = LineSource::JobUrl;
        if self.own_list.is_some() {
            let why = "the target keeps the list of its jobs itself, and can't be asked any more";
            self.book.recorder.record(EventKind::SourceRead { source, failed: Some(why.into()) });
        } else if let Some(list) = &self.list {
            let read = timeout(LAST_LIMIT, list.lock().await.read(&self.book)).await;
            let failed = read.unwrap_or_else(|_| Err("it did not answer in time".into())).err();
            self.book.recorder.record(EventKind::SourceRead { source, failed });
        }
        for file in self.files.borrow_mut().iter_mut() {
            let path = file.tail.path().display().to_string();
            let failed = file.read_to_the_end(&self.book).err();
            let failed = failed.map(|error| format!("{path}: {error}"));
            if let Some(rest) = file.tail.rest() {
                self.book.take(file.source, line_text(&rest), file.read, true);
            }
            let source = file.source;
            self.book.recorder.record(EventKind::SourceRead { source, failed });
        }
    }

    fn follow_list(&mut self, url: String, socket: Option<PathBuf>) {
        // Without a client there is no list, which the last question then says.
        let Ok(list) = JobList::new(url, socket) else { return };
        let list = Rc::new(Mutex::new(ListSource { list, read: self.book.recorder.now() }));
        self.reading.spawn_local(follow_list(self.book.clone(), list.clone()));
        self.list = Some(list);
    }
}

async fn follow_files(book: Book, files: Rc<RefCell<Vec<FileSource>>>) {
    loop {
        for file in files.borrow_mut().iter_mut() {
            // One that is not there yet may come.
            let _ = file.read(&book);
        }
        sleep(FILES_EVERY).await;
    }
}

async fn follow_list(book: Book, list: Rc<Mutex<ListSource>>) {
    loop {
        // A target that is busy or gone is asked again, or not: the last question tells.
        let _ = list.lock().await.read(&book).await;
        sleep(LIST_EVERY).await;
    }
}

impl FileSource {
    /// Takes down the new lines; how many there were.
    fn read(&mut self, book: &Book) -> std::io::Result<usize> {
        let (since, now) = (self.read, book.recorder.now());
        let lines = self.tail.lines()?;
        for line in &lines {
            book.take(self.source, line_text(line), since, false);
        }
        self.read = now;
        Ok(lines.len())
    }

    /// The same until there are none; but what is left of the target may write for ever.
    fn read_to_the_end(&mut self, book: &Book) -> std::io::Result<()> {
        for _ in 0..LAST_READS_MAX {
            if self.read(book)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl ListSource {
    async fn read(&mut self, book: &Book) -> Result<(), String> {
        let (since, now) = (self.read, book.recorder.now());
        for line in self.list.lines().await? {
            book.take(LineSource::JobUrl, line_text(line.as_bytes()), since, false);
        }
        self.read = now;
        Ok(())
    }
}

impl Book {
    fn take(&self, source: LineSource, line: String, since: Nanos, cut: bool) {
        self.output.line_of_source(SourceLine { source, line, since, cut });
    }
}

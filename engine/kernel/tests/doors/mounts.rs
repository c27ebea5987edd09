//! Mounts: stacks of layers, a container's whole tree, terminals. All in mount namespaces of their own.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use glassdock_kernel::Error;
use glassdock_kernel::cgroup;
use glassdock_kernel::device;
use glassdock_kernel::mount::{self, Attributes, Overlay, Propagation};
use glassdock_kernel::namespace::Kind;
use glassdock_kernel::path::{Place, Root};
use glassdock_kernel::process::{Child, Exit, clone_child, new_session};
use glassdock_kernel::pty::{self, Pty, Size};
use glassdock_trace::Trace;

use crate::{Case, case, recorded};

const MOUNT: &[Kind] = &[Kind::Mount];
const CONTAINER: &[Kind] = &[Kind::Mount, Kind::Pid, Kind::Network, Kind::Uts, Kind::Ipc, Kind::Cgroup];

pub(crate) const CASES: &[Case] = &[
    case("overlay: 300 layers, the uppermost wins", MOUNT, || many_layers(300)),
    case("overlay: 900 layers, beyond the kernel's 500", MOUNT, || many_layers(900)),
    case("overlay: odd names, long names", MOUNT, odd_names),
    case("overlay: one layer, no layer, a missing layer", MOUNT, few_layers),
    case("overlay: a volatile upper layer", MOUNT, volatile),
    case("overlay: a detached stack needs no place", &[], detached),
    case("overlay: the old way, for kernels before 6.8", MOUNT, the_old_way),
    case("attributes: read-only all the way down", MOUNT, read_only),
    case("propagation: nothing goes out", MOUNT, propagation),
    case("apart: what a thread mounts is its own", MOUNT, apart),
    case("apart: a process's root without what is mounted on it", MOUNT, root_of_process),
    case("container: the whole tree, and what is hidden in it", CONTAINER, container),
    case("container: a null device that is none is not taken", MOUNT, false_null),
    case("pty: a pair, a console, a size", MOUNT, terminal),
    case("device: nodes, modes, what is there already", MOUNT, devices),
];

fn off() -> Trace {
    Trace::off()
}

/// A fresh tmpfs to work in, seen by this case alone.
fn workplace() -> PathBuf {
    mount::make_private(&off()).unwrap();
    let place = Place::open(Path::new("/mnt")).unwrap();
    mount::filesystem(&off(), "tmpfs", "tmpfs", &[("mode", "755")], &place, Attributes::default()).unwrap();
    PathBuf::from("/mnt")
}

fn folder(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

fn upper(work: &Path) -> Option<(PathBuf, PathBuf)> {
    Some((folder(work.join("upper")), folder(work.join("work"))))
}

fn attach(stack: &Overlay, target: PathBuf) -> PathBuf {
    let target = folder(target);
    mount::attach(&off(), &stack.mount(&off()).unwrap(), &Place::open(&target).unwrap()).unwrap();
    target
}

fn many_layers(count: usize) {
    let work = workplace();
    let lower: Vec<_> = (0..count)
        .map(|number| {
            let layer = folder(work.join(format!("layers/{number:04}")));
            fs::write(layer.join("top"), number.to_string()).unwrap();
            fs::write(layer.join(format!("own-{number}")), "").unwrap();
            layer
        })
        .collect();
    let stack = Overlay { lower, upper: upper(&work), volatile: false };
    let merged = attach(&stack, work.join("merged"));
    assert_eq!(fs::read_to_string(merged.join("top")).unwrap(), "0");
    assert_eq!(fs::read_dir(&merged).unwrap().count(), count + 1);
    assert!(merged.join(format!("own-{}", count - 1)).exists(), "the lowest layer counts too");
    // A whiteout above hides a file of the lowest layers, wherever those are stacked.
    fs::remove_file(merged.join(format!("own-{}", count - 1))).unwrap();
    assert!(!merged.join(format!("own-{}", count - 1)).exists());
    fs::remove_file(merged.join("top")).unwrap();
    assert!(!merged.join("top").exists());
    let whiteout = fs::metadata(work.join("upper/top")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
}

fn odd_names() {
    let work = workplace();
    let long = "x".repeat(250);
    for name in
        ["with space", "comma,colon:", "back\\slash", "back\\\\two", "new\nline", "#hash", "ümlaut", &long]
    {
        let place = folder(work.join(name));
        let lower: Vec<_> = ["a", "b"].map(|layer| folder(place.join(layer))).to_vec();
        fs::write(lower[1].join("file"), name).unwrap();
        let stack = Overlay { lower, upper: upper(&place), volatile: false };
        let (trace, events) = recorded();
        let target = folder(place.join("merged"));
        mount::attach(&trace, &stack.mount(&trace).unwrap(), &Place::open(&target).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), name);
        fs::write(target.join("new"), "").unwrap();
        assert!(place.join("upper/new").exists(), "{name:?}");
        assert_eq!(events.kinds(), ["layer.mount", "mount.attach"]);
        let lines = events.evidence("mount.attach");
        assert!(lines.len() == 1 && lines[0].contains(" - overlay "), "{lines:?}");
        mount::detach(&trace, &target).unwrap();
    }
}

fn few_layers() {
    let work = workplace();
    let only = folder(work.join("only"));
    fs::write(only.join("file"), "one").unwrap();
    let one = Overlay { lower: vec![only.clone()], ..Overlay::default() };
    let merged = attach(&one, work.join("merged"));
    assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "one");
    assert_eq!(fs::write(merged.join("new"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
    fs::write(only.join("new"), "").unwrap();

    assert!(matches!(Overlay::default().mount(&off()), Err(Error::Invalid { .. })));
    let many = Overlay { lower: vec![only.clone(); 1000], ..Overlay::default() };
    assert!(matches!(many.mount(&off()), Err(Error::Invalid { .. })));
    let (trace, events) = recorded();
    let missing = Overlay { lower: vec![only, work.join("missing")], ..Overlay::default() };
    let error = missing.mount(&trace).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOENT));
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(events.kinds(), ["layer.mount!"]);
}

fn volatile() {
    let work = workplace();
    let stack = Overlay { lower: vec![folder(work.join("a"))], upper: upper(&work), volatile: true };
    attach(&stack, work.join("merged"));
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(table.lines().any(|line| line.contains(" /mnt/merged ") && line.contains("volatile")), "{table}");
}

fn detached() {
    let work = tempfile::tempdir().unwrap();
    let lower = ["a", "b"].map(|layer| folder(work.path().join(layer))).to_vec();
    fs::write(lower[0].join("file"), "above").unwrap();
    let stack = Overlay { lower, ..Overlay::default() }.mount(&off()).unwrap();
    let mut text = String::new();
    let mut file = stack.root().unwrap().read(Path::new("/file")).unwrap();
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    assert_eq!(text, "above");
}

fn the_old_way() {
    let work = workplace();
    let lower: Vec<_> = (0..150).map(|number| folder(work.join(format!("odd, name:{number}")))).collect();
    fs::write(lower[149].join("lowest"), "here").unwrap();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let stack = Overlay { lower, upper: upper(&work), volatile: true };
    let detached = stack.mount_by_options().unwrap();
    assert_eq!(
        fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
        before,
        "its place is free again"
    );
    let merged = folder(work.join("merged"));
    mount::attach(&off(), &detached, &Place::open(&merged).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("lowest")).unwrap(), "here");
    fs::write(merged.join("new"), "there").unwrap();
    assert_eq!(fs::read_to_string(work.join("upper/new")).unwrap(), "there");
    let many = Overlay { lower: vec![folder(work.join("one")); 400], ..Overlay::default() };
    assert!(many.mount_by_options().unwrap_err().to_string().contains("200 layers"));
}

fn read_only() {
    let work = workplace();
    let inner = folder(work.join("tree/inner"));
    mount::filesystem(&off(), "tmpfs", "tmpfs", &[], &Place::open(&inner).unwrap(), Attributes::default())
        .unwrap();
    fs::write(inner.join("file"), "").unwrap();
    let copy = folder(work.join("copy"));
    let attributes =
        Attributes { read_only: true, read_only_below: true, no_atime: true, ..Attributes::default() };
    let source = Place::open(&work.join("tree")).unwrap();
    mount::bind(&off(), &source, &Place::open(&copy).unwrap(), true, attributes).unwrap();
    for path in [copy.join("x"), copy.join("inner/x")] {
        assert_eq!(fs::write(path, "").unwrap_err().raw_os_error(), Some(libc::EROFS));
    }
    let shallow = folder(work.join("shallow"));
    let uppermost = Attributes { read_only: true, ..Attributes::default() };
    mount::bind(&off(), &source, &Place::open(&shallow).unwrap(), true, uppermost).unwrap();
    assert_eq!(fs::write(shallow.join("x"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
    fs::write(shallow.join("inner/x"), "").unwrap();
    fs::write(inner.join("x"), "").unwrap();
    mount::remount_readonly(&off(), &Place::open(&inner).unwrap(), false).unwrap();
    assert_eq!(fs::write(inner.join("y"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));
    let no_mount = mount::remount_readonly(&off(), &Place::open(&work.join("tree")).unwrap(), false);
    assert_eq!(no_mount.unwrap_err().errno(), Some(libc::EINVAL));
}

fn propagation() {
    let work = workplace();
    let place = Place::open(&work).unwrap();
    let (trace, events) = recorded();
    for (propagation, word) in
        [(Propagation::Shared, "shared:"), (Propagation::Slave, ""), (Propagation::Unbindable, "unbindable")]
    {
        mount::set_propagation(&trace, &place, propagation, false).unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains(" /mnt ")).unwrap();
        assert!(line.contains(word), "{line}");
    }
    assert_eq!(events.kinds(), ["mount.propagation"; 3]);
}

/// Directories that an image would have.
fn image(work: &Path) -> PathBuf {
    let layer = folder(work.join("layer"));
    for name in ["proc", "sys", "dev", "etc", "tmp"] {
        folder(layer.join(name));
    }
    layer
}

fn container() {
    let work = workplace();
    let (trace, events) = recorded();
    let stack = Overlay { lower: vec![image(&work)], upper: upper(&work), volatile: true };
    let stack = stack.mount(&trace).unwrap();
    let target = folder(work.join("rootfs"));
    mount::attach(&trace, &stack, &Place::open(&target).unwrap()).unwrap();
    let root = stack.root().unwrap();
    let at = |path: &str| root.create_dir_all(Path::new(path), 0o755).unwrap();
    let safe = Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
    mount::proc(&trace, &at("/proc"), safe).unwrap();
    mount::sysfs(&trace, &at("/sys"), Attributes { read_only: true, ..safe }).unwrap();
    let dev = Attributes { no_suid: true, ..Attributes::default() };
    mount::filesystem(&trace, "tmpfs", "tmpfs", &[("mode", "755"), ("size", "65536k")], &at("/dev"), dev)
        .unwrap();
    let pts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let console = Attributes { no_dev: false, ..safe };
    mount::devpts(&trace, &at("/dev/pts"), &pts, console).unwrap();
    mount::filesystem(&trace, "tmpfs", "tmpfs", &[("mode", "1777"), ("size", "64m")], &at("/dev/shm"), safe)
        .unwrap();
    mount::mqueue(&trace, &at("/dev/mqueue"), safe).unwrap();
    let groups = Attributes { read_only: true, ..safe };
    mount::cgroup(&trace, &cgroup::hierarchy(), &at("/sys/fs/cgroup"), groups).unwrap();
    for node in device::defaults() {
        device::create(&trace, &root, &node).unwrap();
    }
    for (path, target) in device::LINKS {
        device::link(&trace, &root, Path::new(path), Path::new(target)).unwrap();
    }
    let unproven = mount::pivot_root(&trace, &stack, &target).unwrap();
    assert!(unproven.is_none(), "this trace takes evidence at once");

    let hidden = ["/proc/cpuinfo", "/proc/no-such", "/sys/firmware", "/no/such"].map(PathBuf::from);
    mount::mask(&trace, &root, &hidden).unwrap();
    mount::readonly_path(&trace, &root, Path::new("/proc/sys")).unwrap();
    mount::readonly_path(&trace, &root, Path::new("/proc/no-such")).unwrap();

    let names: Vec<_> = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(fs::read("/proc/cpuinfo").unwrap().is_empty());
    assert_eq!(fs::read_dir("/sys/firmware").unwrap().count(), 0);
    let refused = fs::write("/proc/sys/kernel/domainname", "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    fs::write("/dev/null", "x").unwrap();
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    assert_eq!(fs::read_link("/proc/self").unwrap(), Path::new("1"));
    let evidence = events.evidence("rootfs.pivot");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(evidence.iter().all(|line| table.contains(line.as_str())), "{evidence:#?}\n{table}");
    assert!(evidence[0].contains(" / / ") && evidence[0].contains(" - overlay "), "{evidence:#?}");
    assert!(!table.contains(" /mnt"), "nothing of the old tree is left: {table}");
    assert!(events.kinds().iter().all(|kind| !kind.ends_with('!')), "{:?}", events.kinds());
}

fn false_null() {
    let work = workplace();
    let root = Root::open(&work).unwrap();
    root.create_file(Path::new("/dev/null"), 0o644).unwrap();
    fs::write(work.join("dev/null"), "not nothing").unwrap();
    fs::write(work.join("secret"), "secret").unwrap();
    mount::mask(&off(), &root, &["/secret".into()]).unwrap();
    assert!(fs::read(work.join("secret")).unwrap().is_empty());
}

fn terminal() {
    let work = workplace();
    let root = Root::open(&work).unwrap();
    assert_eq!(Pty::open(&root).unwrap_err().errno(), Some(libc::ENOENT));
    let place = root.create_dir_all(Path::new("/dev/pts"), 0o755).unwrap();
    mount::devpts(&off(), &place, &[("newinstance", ""), ("ptmxmode", "0666")], Attributes::default())
        .unwrap();
    let pair = Pty::open(&root).unwrap();
    assert_eq!(pair.path(), Path::new("/dev/pts/0"));
    pair.bind_console(&off(), &root).unwrap();
    pair.set_owner(1000).unwrap();
    let console = fs::metadata(work.join("dev/console")).unwrap();
    assert_eq!((console.uid(), console.rdev()), (1000, rustix::fs::makedev(136, 0)));
    pty::resize(std::os::fd::AsFd::as_fd(&pair.controller), Size { rows: 24, columns: 80 }).unwrap();
    let size = rustix::termios::tcgetwinsize(&pair.terminal).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (24, 80));
    rustix::io::write(&pair.terminal, b"hi\n").unwrap();
    let mut buffer = [0_u8; 8];
    let length = rustix::io::read(&pair.controller, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"hi\r\n");
    let leader = clone_child(&off(), &Child::default(), || {
        let terminal = std::os::fd::AsFd::as_fd(&pair.terminal);
        assert_eq!(pty::set_controlling(terminal).unwrap_err().errno(), Some(libc::EPERM));
        new_session().unwrap();
        pty::set_controlling(terminal).unwrap();
        u8::from(fs::File::open("/dev/tty").is_err())
    });
    assert_eq!(leader.unwrap().wait(&off()).unwrap(), Exit::Status(0));
}

fn devices() {
    let work = workplace();
    let root = Root::open(&work).unwrap();
    let node = device::Device { mode: 0o640, uid: 7, gid: 8, ..device::defaults().remove(0) };
    device::create(&off(), &root, &node).unwrap();
    device::create(&off(), &root, &node).unwrap();
    let made = fs::metadata(work.join("dev/null")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o640, 7, 8));
    let other = device::Device { minor: 5, ..node };
    assert_eq!(device::create(&off(), &root, &other).unwrap_err().errno(), Some(libc::EEXIST));
    // An image's link can't make the node appear outside.
    std::os::unix::fs::symlink("/../../tmp", work.join("out")).unwrap();
    let sly = device::Device { path: "/out/null".into(), ..other };
    device::create(&off(), &root, &sly).unwrap();
    assert!(work.join("tmp/null").exists());
}

fn apart() {
    let target = folder(workplace().join("target"));
    let (trace, events) = recorded();
    let inside = mount::apart(&trace, || {
        mount::filesystem(&trace, "tmpfs", "tmpfs", &[], &Place::open(&target)?, Attributes::default())?;
        fs::write(target.join("file"), "x").unwrap();
        Ok::<_, Error>(glassdock_kernel::files::mount_line(target.to_str().unwrap()).is_some())
    });
    assert!(inside.unwrap(), "the thread sees its mount");
    assert!(glassdock_kernel::files::mount_line(target.to_str().unwrap()).is_none(), "nobody else does");
    assert!(!target.join("file").exists());
    assert_eq!(events.kinds(), ["namespace.create", "mount.propagation", "mount.attach"]);
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let told = events.evidence("namespace.create");
    assert!(
        told.iter().all(|line| !line.contains(own.to_str().unwrap())),
        "the thread's namespace: {told:?}"
    );
    let failed = mount::apart(&trace, || Place::open(Path::new("/nowhere/at/all")).map(drop));
    assert_eq!(failed.unwrap_err().errno(), Some(libc::ENOENT));
}

fn root_of_process() {
    workplace();
    let own = glassdock_kernel::process::Process::open(std::process::id()).unwrap();
    let (trace, events) = recorded();
    let root = mount::root_of(&trace, &own).unwrap().root().unwrap();
    assert!(root.resolve(Path::new("/mnt")).unwrap().is_dir().unwrap());
    assert!(Path::new("/proc/version").exists() && root.read(Path::new("/proc/version")).is_err());
    assert!(root.create_file(Path::new("/mnt/x"), 0o644).is_err(), "it is read-only");
    assert_eq!(events.kinds(), ["namespace.join"]);
}

//! What a process that only waits need not hold in memory.

use std::fs;

/// Gives memory back that this process can do without while it waits: what was freed
/// (malloc_trim(3)), and the pages of its own program, which come back from the page cache
/// when they are run again (madvise(2)). Of a start's work much code is run once only; a
/// shim that waits for days needs little of it.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim may be called at any time, by any thread.
        unsafe { libc::malloc_trim(0) };
    }
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    // All of them are found before the first is dropped: the search would bring pages back.
    for (begin, length) in program_pages(&maps) {
        // SAFETY: the range is a whole mapping of a file that was never writable in this process, so each page is
        // the same as in its file: the kernel drops it from the page table, and reads it again at the next use.
        unsafe { libc::madvise(begin as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// The begin and length of each mapping of a program's or library's text (`r-xp`), and of the constants that lie
/// before it in the file. Those behind it may be relocations, which were written to before they became read-only.
fn program_pages(maps: &str) -> Vec<(usize, usize)> {
    let mut pages = Vec::new();
    let mut constants: Option<(&str, (usize, usize))> = None;
    for mapping in maps.lines().filter_map(Mapping::parse) {
        if mapping.rights == "r--p" && mapping.offset == 0 {
            constants = Some((mapping.path, mapping.range));
        } else if mapping.rights == "r-xp" {
            let same_file = constants.take().filter(|(path, _)| *path == mapping.path);
            pages.extend(same_file.map(|(_, range)| range));
            pages.push(mapping.range);
        }
    }
    pages
}

/// A line of `/proc/PID/maps` with a file; proc(5).
struct Mapping<'a> {
    range: (usize, usize),
    rights: &'a str,
    offset: u64,
    path: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let (begin, end) = range.split_once('-')?;
        let begin = usize::from_str_radix(begin, 16).ok()?;
        let length = usize::from_str_radix(end, 16).ok()?.checked_sub(begin)?;
        let path = fields.nth(2).filter(|path| path.starts_with('/'))?;
        Some(Self { range: (begin, length), rights, offset: u64::from_str_radix(offset, 16).ok()?, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_constants_are_told_from_data() {
        let maps = "\
00200000-0027f000 r--p 00000000 00:01 1025 /memfd:glassdock-shim (deleted)
0027f000-0049d000 r-xp 0007e000 00:01 1025 /memfd:glassdock-shim (deleted)
0049d000-004ae000 r--p 0029b000 00:01 1025 /memfd:glassdock-shim (deleted)
004ae000-004b2000 rw-p 002ab000 00:01 1025 /memfd:glassdock-shim (deleted)
2aa8c000-2aab7000 rw-p 00000000 00:00 0 [heap]
7fff2bb5d000-7fff2bb5f000 r-xp 00000000 00:00 0 [vdso]

nonsense
";
        assert_eq!(program_pages(maps), [(0x20_0000, 0x7_f000), (0x27_f000, 0x21_e000)]);
    }

    #[test]
    fn the_process_goes_on() {
        trim_memory();
        assert_eq!(format!("{}", 6 * 7), "42");
    }
}

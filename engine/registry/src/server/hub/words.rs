//! The pages' languages and their words.

use http::header;
use http::request::Parts;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Language {
    /// English.
    En,
    /// Chinese, in simplified characters.
    Zh,
}

impl Language {
    /// Its name in paths and in `?lang=`.
    pub(super) fn name(self) -> &'static str {
        self.choose("en", "zh")
    }

    /// Its tag, as HTML and HTTP write it (RFC 5646).
    pub(super) fn tag(self) -> &'static str {
        self.choose("en", "zh-CN")
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::En => Self::Zh,
            Self::Zh => Self::En,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        // `zh-CN`, `zh_TW`, `en-GB`: the first part decides.
        match text.split(['-', '_']).next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "zh" => Some(Self::Zh),
            _ => None,
        }
    }

    /// A path's language and the rest of it.
    pub(super) fn prefix(path: &str) -> (Option<Self>, &str) {
        for language in [Self::En, Self::Zh] {
            let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(language.name()));
            if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                return (Some(language), rest);
            }
        }
        (None, path)
    }

    /// The language that the browser likes best of ours (RFC 9110, 12.5.4); English if none.
    pub(super) fn accepted(parts: &Parts) -> Self {
        let text = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let mut best = (Self::En, 0.0_f32);
        for range in text.unwrap_or_default().split(',').take(50) {
            let mut pieces = range.split(';');
            let Some(language) = pieces.next().and_then(|tag| Self::parse(tag.trim())) else { continue };
            let weight =
                pieces.find_map(|piece| piece.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    /// The text in this language; the English one where there is no Chinese.
    pub(super) fn choose<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        if self == Self::Zh && !zh.is_empty() { zh } else { en }
    }
}

/// Names each word of the pages once, with both languages side by side.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $zh:literal;)*) => {
        /// A text of the pages.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Word { $($(#[$doc])* $name,)* }

        impl Language {
            /// A text of the pages in this language.
            pub(super) fn say(self, word: Word) -> &'static str {
                match word { $(Word::$name => self.choose($en, $zh),)* }
            }
        }
    };
}

words! {
    Skip: "Skip to the content", "跳到正文";
    SearchLabel: "Search images", "搜索镜像";
    SearchHint: "Name or description, such as java", "名字或描述，例如 java";
    Search: "Search", "搜索";
    OtherLanguage: "中文", "English";
    Tagline: "Find an image, see what is in it, pull it", "找到镜像，看清里面有什么，然后拉取";
    Intro: "Every image is a stack of layers. Here each one tells how large it is and which instruction made it.",
        "每个镜像都是一叠层。在这里，每一层都会告诉你它有多大、是由哪条指令产生的。";
    Popular: "Popular images", "热门镜像";
    Empty: "Nothing is here yet. Push an image, or start the registry with --seed.",
        "这里还什么都没有。推送一个镜像，或者用 --seed 启动仓库。";
    AllImages: "All images", "所有镜像";
    ResultsFor: "Results for", "搜索结果：";
    NoResults: "Nothing matches. Try a shorter word: a search looks for every word in names and descriptions.",
        "没有匹配的镜像。换个短一点的词试试：搜索会在名字和描述里查找每一个词。";
    OnTheCommandLine: "The same on the command line", "在命令行里同样可以";
    Name: "Name", "名字";
    Official: "Official", "官方";
    StandIn: "Stand-in", "替身";
    StandInMeaning: "It has the name and the shape of that image, not its software.", "它有那个镜像的名字和形状，没有它的软件。";
    Stars: "Stars", "星数";
    Pulls: "Pulls", "拉取次数";
    Description: "Description", "描述";
    Details: "Details", "详情";
    NoDescription: "Nobody has described this image.", "还没有人描述过这个镜像。";
    Samples: "Stars and pulls are samples for the lessons, so that there is something to sort and filter by.",
        "星数和拉取次数是为课程准备的示例数据，好有东西可以排序和过滤。";
    OnlyOfficial: "Official only", "仅官方";
    AtLeastStars: "At least this many stars", "至少多少颗星";
    Apply: "Apply", "应用";
    Overview: "Overview", "概览";
    Tags: "Tags", "标签";
    Pull: "Pull", "拉取";
    Copy: "Copy", "复制";
    Copied: "Copied", "已复制";
    Tag: "Tag", "标签";
    Size: "Size", "大小";
    Digest: "Digest", "摘要";
    Platform: "Platform", "平台";
    Platforms: "Platforms", "平台";
    Made: "Made", "创建于";
    Layers: "Layers", "层";
    LayersMeaning: "The lowest layer is at the bottom, as a union mount stacks them. A bar is as long as its layer is large.",
        "最底下的层在最下面，联合挂载就是这样把它们叠起来的。条的长短表示层的大小。";
    SetsOnly: "sets something, makes no layer", "只做设置，不产生层";
    NoInstruction: "The image does not tell what made this layer.", "镜像没有说明这一层是怎么来的。";
    Dockerfile: "Dockerfile", "Dockerfile";
    FromHistory: "No Dockerfile came with this image. This is what its history tells, and not more.",
        "这个镜像没有附带 Dockerfile。下面是它的历史记录所说的，仅此而已。";
    HowItStarts: "How it starts", "如何启动";
    Entrypoint: "Entrypoint", "入口";
    Command: "Command", "命令";
    User: "User", "用户";
    WorkingDirectory: "Working directory", "工作目录";
    Environment: "Environment", "环境变量";
    Ports: "Ports", "端口";
    Volumes: "Volumes", "卷";
    Labels: "Labels", "标记";
    ImageId: "Image ID", "镜像 ID";
    MediaType: "Media type", "媒体类型";
    NoImage: "This is no image that a container could run: there are no layers to show.",
        "这不是容器可以运行的镜像：没有层可以显示。";
    OlderPage: "Next", "下一页";
    NewerPage: "Previous", "上一页";
    Page: "Page", "页";
    NothingHere: "There is nothing here", "这里什么都没有";
    NothingHereMore: "The address leads nowhere, or what it named was deleted.", "这个地址不通向任何地方，或者它所指的东西已经删除。";
    Failed: "The registry could not answer", "仓库无法回答";
    Home: "To the start", "回到首页";
    PullHere: "From any engine, by this server's address", "任何引擎：通过这台服务器的地址";
    PullMirror: "From an engine that has this server as its mirror", "以这台服务器为镜像源的引擎";
    Footer: "A registry and hub of Glassdock, on your own machine. Programs find it at", "Glassdock 的仓库和 Hub，就在你自己的机器上。程序通过这里访问它：";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Language {
        let request = http::Request::builder().header("accept-language", text).body(()).expect("a request");
        Language::accepted(&request.into_parts().0)
    }

    #[test]
    fn the_browsers_favourite_decides() {
        for (text, wanted) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Zh),
            ("en-GB,en;q=0.9,zh;q=0.5", Language::En),
            ("de, zh;q=0.2, en;q=0.1", Language::Zh),
            ("zh;q=0, en;q=0.1", Language::En),
            ("zh;q=x", Language::Zh),
            ("", Language::En),
        ] {
            assert_eq!(accepted(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_language_in_a_path_is_a_whole_part_of_it() {
        assert_eq!(Language::prefix("/zh/search"), (Some(Language::Zh), "/search"));
        assert_eq!(Language::prefix("/en"), (Some(Language::En), ""));
        assert_eq!(Language::prefix("/enormous"), (None, "/enormous"));
    }
}

//! Examples for the help of each command.

/// What one types, without the program's name.
pub(crate) fn examples(command: &str) -> &'static [&'static str] {
    match command {
        "run" => &[
            "run hello-world",
            "run --rm -it busybox sh",
            "run --trace --rm busybox true        # and watch what that takes",
            "run -d --name web -p 8080:80 busybox httpd -f -p 80",
        ],
        "create" => &["create --name otter busybox sleep 60"],
        "start" => &["start otter", "start -ai otter"],
        "stop" => &["stop otter", "stop -t 1 otter"],
        "restart" => &["restart otter"],
        "kill" => &["kill otter", "kill -s HUP otter"],
        "pause" => &["pause otter"],
        "unpause" => &["unpause otter"],
        "wait" => &["wait otter"],
        "rm" => &["rm otter", "rm -f $(glassdock ps -aq)"],
        "rename" => &["rename otter beaver"],
        "update" => &["update --memory 64m otter"],
        "ps" => &["ps -a", "ps --filter status=exited -q", "ps --format '{{.Names}}: {{.Status}}'"],
        "logs" => &["logs -f --tail 10 otter"],
        "attach" => &["attach otter        # leave with ctrl-p ctrl-q"],
        "exec" => &["exec otter ps", "exec -it otter sh"],
        "top" => &["top otter", "top otter -o pid,args"],
        "port" => &["port web", "port web 80/tcp"],
        "diff" => &["diff otter"],
        "cp" => &["cp otter:/etc/hosts .", "cp notes.txt otter:/root/"],
        "commit" => &["commit -m 'with notes' otter notes:1"],
        "export" => &["export -o otter.tar otter"],
        "stats" => &["stats --no-stream"],
        "build" => &[
            "build -t app:1 .",
            "build -f Dockerfile.test --build-arg VERSION=2 .",
            "build --secret id=token,src=token.txt --ssh default .",
            "build https://example.org/repository.git#main:folder",
            "build --check Dockerfile        # without a daemon",
        ],
        "images" => &["images", "images --format json"],
        "pull" => &["pull hello-world", "pull --trace busybox:latest"],
        "push" => &["push localhost:5000/ubuntu:12.04"],
        "rmi" => &["rmi hello-world", "rmi $(glassdock images -q -a)"],
        "tag" => &["tag ubuntu:12.04 localhost:5000/ubuntu:12.04"],
        "history" => &["history --no-trunc busybox"],
        "import" => &["import rootfs.tar mine:1"],
        "load" => &["load -i images.tar"],
        "save" => &["save -o images.tar busybox hello-world"],
        "inspect" => &["inspect otter", "inspect -f '{{.State.Pid}}' otter"],
        "image inspect" => &["image inspect busybox"],
        "container inspect" => &["container inspect otter"],
        "image prune" => &["image prune -f"],
        "container prune" => &["container prune -f"],
        "network prune" => &["network prune -f"],
        "volume prune" => &["volume prune -f"],
        "system prune" => &["system prune -f"],
        "system df" => &["system df -v"],
        "search" => &["search java", "search --filter is-official=true --limit 5 java"],
        "manifest inspect" => {
            &["manifest inspect busybox", "manifest inspect --insecure localhost:5000/ubuntu:12.04"]
        }
        "version" => &["version", "version -f '{{.Server.Version}}'"],
        "info" => &["info", "info -f '{{.CgroupVersion}}'"],
        "events" => &["events --since 10m --until 0s", "events --filter type=container"],
        "login" => &["login localhost:5000"],
        "logout" => &["logout localhost:5000"],
        "network connect" => &["network connect --alias db mynet otter"],
        "network create" => {
            &["network create --subnet 10.9.0.0/24 mynet", "network create --ipv6 --subnet fd00:9::/64 mynet"]
        }
        "network disconnect" => &["network disconnect mynet otter"],
        "network inspect" => &["network inspect bridge"],
        "network ls" => &["network ls"],
        "network rm" => &["network rm mynet"],
        "volume create" => {
            &["volume create data", "volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=64m fast"]
        }
        "volume inspect" => &["volume inspect data"],
        "volume ls" => &["volume ls -q"],
        "volume rm" => &["volume rm data"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use crate::words::tree;

    #[test]
    fn every_command_has_an_example() {
        for spec in tree::SPECS {
            assert!(!super::examples(spec.name()).is_empty(), "{}", spec.name());
        }
    }
}

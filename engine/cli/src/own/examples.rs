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
        "builder prune" => &["builder prune -f", "builder prune -a --filter until=24h"],
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
        "volume update" => &["volume update --availability drain data"],
        "swarm init" => &["swarm init --advertise-addr eth0"],
        "swarm join" => &["swarm join --token SWMTKN-1-… 192.0.2.2:2377"],
        "swarm leave" => &["swarm leave --force"],
        "swarm join-token" => &["swarm join-token worker"],
        "swarm unlock" => &["swarm unlock"],
        "swarm unlock-key" => &["swarm unlock-key -q"],
        "swarm ca" => &["swarm ca"],
        "node ls" => &["node ls -q"],
        "node inspect" => &["node inspect self"],
        "node rm" => &["node rm worker-1"],
        "service ls" => &["service ls -q"],
        "service inspect" => &["service inspect web"],
        "service rm" => &["service rm web"],
        "stack ls" => &["stack ls"],
        "secret ls" => &["secret ls"],
        "secret create" => &["secret create password password.txt"],
        "secret inspect" => &["secret inspect password"],
        "secret rm" => &["secret rm password"],
        "config ls" => &["config ls"],
        "config create" => &["config create site nginx.conf"],
        "config inspect" => &["config inspect site"],
        "config rm" => &["config rm site"],
        "plugin ls" => &["plugin ls --filter enabled=true"],
        "plugin inspect" => &["plugin inspect vieux/sshfs"],
        "plugin rm" => &["plugin rm vieux/sshfs"],
        "plugin enable" => &["plugin enable vieux/sshfs"],
        "plugin disable" => &["plugin disable vieux/sshfs"],
        "checkpoint ls" => &["checkpoint ls otter"],
        "checkpoint create" => &["checkpoint create otter before"],
        "checkpoint rm" => &["checkpoint rm otter before"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use crate::words::tree;

    #[test]
    fn every_command_has_an_example() {
        for spec in tree::specs() {
            assert!(!super::examples(spec.name()).is_empty(), "{}", spec.name());
        }
    }
}

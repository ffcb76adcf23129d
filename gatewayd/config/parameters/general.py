"""Who we are, where things lie, how it's logged."""

from gatewayd.config.parameters.parameter import choice, flag, number, seconds, text, words

ROWS = (
    text("compatibility_level", "3.12", "Which of Postfix's defaults hold: those of this level."),
    text("myhostname", None, "This host's name on the Internet; by default the machine's own."),
    text("mydomain", None, "The domain of myhostname: by default all but its first label."),
    text("myorigin", "$myhostname", "The domain that an address without one gets."),
    words(
        "mydestination",
        "$myhostname, localhost.$mydomain, localhost",
        "Domains whose mail ends here (class local). Empty: none does.",
    ),
    words("inet_interfaces", "all", "Addresses to listen on: all, loopback-only, or a list."),
    words("inet_protocols", "all", "ipv4, ipv6, or all."),
    words("proxy_interfaces", "", "Further addresses that reach us, through a proxy or NAT."),
    words("mynetworks", None, "Clients that may send anywhere; by default by mynetworks_style."),
    choice(
        "mynetworks_style",
        "host",
        "How mynetworks is derived from our interfaces when it isn't set.",
        ("class", "subnet", "host"),
    ),
    words(
        "parent_domain_matches_subdomains",
        "debug_peer_list, fast_flush_domains, mynetworks, permit_mx_backup_networks, "
        "qmqpd_authorized_clients, relay_domains, smtpd_access_maps",
        "Lists in which a domain stands for its subdomains, too.",
    ),
    text("config_directory", "/etc/gatewayd", "Where main.cf and master.cf are."),
    text("queue_directory", "/var/spool/gatewayd", "Where the queue lies."),
    text("data_directory", "/var/lib/gatewayd", "Where other state lies that outlives a restart."),
    text("mail_owner", "gatewayd", "The user that the gateway runs as when started by root."),
    text("setgid_group", "gatewayd", "The group whose members may leave mail in maildrop/."),
    text("mail_name", "gatewayd", "The name in banners and Received: fields."),
    text("mail_version", "0.1.0", "The version, for those who want to show it."),
    text("multi_instance_name", "", "A name for this instance among several, for logs."),
    text("syslog_name", "gatewayd", "The first part of a log line's tag."),
    choice(
        "syslog_facility",
        "mail",
        "The facility that is logged under.",
        (
            *("mail", "daemon", "user", "local0", "local1", "local2", "local3"),
            *("local4", "local5", "local6", "local7"),
        ),
    ),
    text("maillog_file", "", "A file to log to; empty: syslog; /dev/stderr: standard error."),
    words("maillog_file_prefixes", "/var, /dev", "Folders that maillog_file may be in."),
    number("default_process_limit", "100", "maxproc of services that don't say.", minimum=1),
    flag("soft_bounce", "no", "Turn every final refusal and bounce into a temporary one."),
    words("recipient_delimiter", "", "Characters that part a user name from its extension."),
    words(
        "import_environment",
        "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C",
        "Environment variables that the gateway keeps.",
    ),
    words("export_environment", "TZ MAIL_CONFIG LANG", "Those that commands get."),
    seconds("stop_time_limit", "30s", "Ours: how long an orderly stop waits for deliveries."),
    text("control_socket", "$queue_directory/control.sock", "Ours: the operator's socket."),
    text("pid_file", "$queue_directory/gatewayd.pid", "Ours: the running gateway's process ID."),
    choice("log_format", "postfix", "Ours: how log lines look.", ("postfix", "json")),
    words("authorized_mailq_users", "static:anyone", "Users who may list the queue."),
    words("authorized_flush_users", "static:anyone", "Users who may flush the queue."),
    words("authorized_submit_users", "static:anyone", "Users who may run sendmail."),
    text("default_database_type", "lmdb", "The table type that postmap builds unless told."),
)

PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE attempt (
    message INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    at REAL NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (message, recipient, at)
) WITHOUT ROWID;
INSERT INTO "attempt" VALUES(3,1,1700000000.25,'4.4.1','connect: timed out, turn 0');
INSERT INTO "attempt" VALUES(3,1,1700000300.25,'4.4.1','connect: timed out, turn 1');
CREATE TABLE content (number INTEGER PRIMARY KEY, octets BLOB NOT NULL);
INSERT INTO "content" VALUES(2,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(3,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A4772C3BCC39F650D0A');
INSERT INTO "content" VALUES(7,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(8,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(9,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(11,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(12,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(13,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(14,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
INSERT INTO "content" VALUES(15,X'52656365697665643A2066726F6D20780D0A5375626A6563743A2073616D706C650D0A0D0A4C696E652E0D0A');
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    queue_id TEXT NOT NULL,
    arrival REAL NOT NULL,
    due REAL NOT NULL,
    state INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    asked INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    flags INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sender TEXT NOT NULL,
    file TEXT NOT NULL DEFAULT '',
    envelope TEXT NOT NULL
);
INSERT INTO "message" VALUES(2,'PLAIN1',1700000000.25,1700000000.25,0,0,0,0,0,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(3,'EVERY1',1700000000.25,1700000600.25,0,0,0,0,5,53,'send er@münchen.example','','{"v": 1, "sender": ["send er", "m\u00fcnchen.example"], "body": "8BITMIME", "smtputf8": true, "ret": "HDRS", "envid": "QQ314159", "origin": {"protocol": "ESMTPA", "helo": "[192.0.2.1]", "client_name": "client.example", "client_address": "192.0.2.1", "client_port": 4025, "sasl_method": "PLAIN", "sasl_username": "login", "sasl_sender": "s@example.org"}}');
INSERT INTO "message" VALUES(4,'LARGE1',1700000000.25,1700000000.25,0,0,0,0,0,346,'s@example.org','sample-1','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(5,'SHARE0',1700000000.25,1700000000.25,0,0,0,0,0,18044,'s@example.org','1-1@0','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(6,'SHARE1',1700000000.25,1700000000.25,0,0,0,0,0,18044,'s@example.org','1-1@18044','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(7,'HELD01',1700000000.25,1700000000.25,1,0,0,0,0,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(8,'EXPIR1',1700000000.25,0.0,0,0,0,0,2,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(9,'LOCAL1',1700000000.25,1700000000.25,0,0,0,0,0,44,'root','','{"v": 1, "sender": ["root", ""], "origin": {"user_id": 0}}');
INSERT INTO "message" VALUES(11,'REPOR1',1700000000.25,1700000000.25,0,0,0,0,0,44,'','','{"v": 1, "sender": ["", ""]}');
INSERT INTO "message" VALUES(12,'DAMAG1',1700000000.25,1700000000.25,0,0,0,0,0,44,'s@example.org','','{');
INSERT INTO "message" VALUES(13,'LEASE1',1700000000.25,1700000000.25,0,1,0,0,0,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(14,'ASKED1',1700000000.25,1700000000.25,0,1,1,0,0,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
INSERT INTO "message" VALUES(15,'ASKED2',1700000000.25,1700000000.25,0,1,2,0,0,44,'s@example.org','','{"v": 1, "sender": ["s", "example.org"]}');
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('numbers',100001);
CREATE TABLE recipient (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    local TEXT NOT NULL,
    domain TEXT NOT NULL,
    site TEXT NOT NULL,
    transport TEXT NOT NULL,
    nexthop TEXT NOT NULL,
    original TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    notify INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    remote_mta TEXT NOT NULL DEFAULT '',
    last_attempt REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
INSERT INTO "recipient" VALUES(2,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(3,1,'q"uo\ted','[192.0.2.9]','[192.0.2.9]','ondemand','far.example','alias@example.org','rfc822;alias+40example.org',10,2,'4.4.1','connect: timed out, turn 1','mx.far.example',1700000300.25);
INSERT INTO "recipient" VALUES(3,2,'grün','münchen.example','münchen.example','retry','4.3.0 not today','','',0,0,'4.3.0','not today','',0.0);
INSERT INTO "recipient" VALUES(4,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(5,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(6,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(7,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(8,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(9,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(11,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(12,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(13,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(14,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
INSERT INTO "recipient" VALUES(15,0,'user','example.com','example.com','smtp','[mx.example.com]:25','','',0,0,'','','',0.0);
CREATE TABLE total (state INTEGER PRIMARY KEY, messages INTEGER NOT NULL, octets INTEGER NOT NULL);
INSERT INTO "total" VALUES(0,12,36839);
INSERT INTO "total" VALUES(1,1,44);
INSERT INTO "total" VALUES(2,0,0);
CREATE UNIQUE INDEX message_by_id ON message (queue_id);
CREATE INDEX message_by_due ON message (due) WHERE state = 0 AND lease = 0;
CREATE INDEX message_by_lease ON message (lease, size) WHERE lease <> 0;
CREATE INDEX message_by_sender ON message (sender);
CREATE INDEX message_by_hold ON message (number) WHERE state <> 0;
CREATE INDEX message_by_file ON message (file) WHERE file <> '';
CREATE INDEX recipient_by_site ON recipient (site, message);
CREATE INDEX recipient_by_transport ON recipient (transport, message);
CREATE INDEX recipient_by_nexthop ON recipient (nexthop, message);
CREATE TRIGGER message_came AFTER INSERT ON message BEGIN
    UPDATE total SET messages = messages + 1, octets = octets + NEW.size WHERE state = NEW.state;
END;
CREATE TRIGGER message_went AFTER DELETE ON message BEGIN
    UPDATE total SET messages = messages - 1, octets = octets - OLD.size WHERE state = OLD.state;
END;
CREATE TRIGGER message_moved AFTER UPDATE OF state ON message WHEN NEW.state <> OLD.state BEGIN
    UPDATE total SET messages = messages + 1, octets = octets + NEW.size WHERE state = NEW.state;
    UPDATE total SET messages = messages - 1, octets = octets - OLD.size WHERE state = OLD.state;
END;
COMMIT;

-- Runs in format 1, as the last version before format 2 left them: finished, waiting for an answer, killed.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE run (
        id text primary key, pipeline text not null, plan text not null, status text not null, code integer,
        started_at integer not null, finished_at integer, spent text not null, score real, outputs text
    ) strict, without rowid;
INSERT INTO run VALUES('01m8n43yjbpc1895g0vbav043z','finished','6a1afbbef226035b71ed1d2af484501515f31435d1a237132d535255244b6356','succeeded',0,1796005296716,1796005296737,'{}',NULL,'{"rooms":[{"value":"room a"},{"value":"room b"}]}');
INSERT INTO run VALUES('01m8n43ymr3va7m2h4xe5kcfbh','waiting','3d9068b7f631e4f0a0d46a00d1273acb6cbdbcce427b070cd40df22354d6bf4a','waiting',7,1796005296797,NULL,'{}',NULL,NULL);
INSERT INTO run VALUES('01m8n43yqb5cjcdmn0kmvhszjc','killed','c6e86330c154419ff0b22f067f64004c1d0050d0061e4e16235c28b65805bb37','running',NULL,1796005296876,NULL,'{}',NULL,NULL);
CREATE TABLE fact (
        run text not null, seq integer not null, at integer not null, kind text not null, address text not null,
        attempt integer not null, body text not null, primary key (run, seq)
    ) strict, without rowid;
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',1,1796005296716,'run_started','',0,'{"fact":"run_started","pipeline":"finished","plan":"6a1afbbef226035b71ed1d2af484501515f31435d1a237132d535255244b6356","inputs":{"value":{}},"seed":3206364366468299185}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',2,1796005296716,'opened','rooms',0,'{"fact":"opened","with":{"control":"each","over":{"value":["a","b"]},"parallel":64,"max_failures":null}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',3,1796005296716,'opened','twice',0,'{"fact":"opened","with":{"control":"loop","max":2,"state":{"value":{"n":0}}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',4,1796005296716,'started','twice#1/same',1,'{"fact":"started"}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',5,1796005296716,'started','rooms[0]/name',1,'{"fact":"started"}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',6,1796005296716,'started','rooms[1]/name',1,'{"fact":"started"}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',7,1796005296732,'succeeded','twice#1/same',1,'{"fact":"succeeded","output":{"value":{"value":1}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',8,1796005296732,'succeeded','rooms[0]/name',1,'{"fact":"succeeded","output":{"value":{"value":"room a"}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',9,1796005296732,'succeeded','rooms[1]/name',1,'{"fact":"succeeded","output":{"value":{"value":"room b"}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',10,1796005296732,'round_closed','twice#1',0,'{"fact":"round_closed","lets":{"value":{}},"state":{"value":{"n":1}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',11,1796005296732,'item_closed','rooms[0]',0,'{"fact":"item_closed","result":{"value":{"value":"room a"}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',12,1796005296732,'item_closed','rooms[1]',0,'{"fact":"item_closed","result":{"value":{"value":"room b"}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',13,1796005296732,'succeeded','rooms',0,'{"fact":"succeeded","output":{"items":2}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',14,1796005296732,'started','twice#2/same',1,'{"fact":"started"}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',15,1796005296737,'succeeded','twice#2/same',1,'{"fact":"succeeded","output":{"value":{"value":1}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',16,1796005296737,'round_closed','twice#2',0,'{"fact":"round_closed","lets":{"value":{}},"state":{"value":{"n":2}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',17,1796005296737,'succeeded','twice',0,'{"fact":"succeeded","output":{"value":{"n":2,"status":"exhausted","rounds":2}}}');
INSERT INTO fact VALUES('01m8n43yjbpc1895g0vbav043z',18,1796005296737,'finished','',0,'{"fact":"finished","status":"succeeded","code":0,"outputs":{"value":{"rooms":[{"value":"room a"},{"value":"room b"}]}}}');
INSERT INTO fact VALUES('01m8n43ymr3va7m2h4xe5kcfbh',1,1796005296797,'run_started','',0,'{"fact":"run_started","pipeline":"waiting","plan":"3d9068b7f631e4f0a0d46a00d1273acb6cbdbcce427b070cd40df22354d6bf4a","inputs":{"value":{}},"seed":205003526959838971}');
INSERT INTO fact VALUES('01m8n43ymr3va7m2h4xe5kcfbh',2,1796005296798,'started','hello',1,'{"fact":"started","key":"b14595e520c54e442846bd3267bb45d4f48e38a32bf26a716345737ddfe6a71d"}');
INSERT INTO fact VALUES('01m8n43ymr3va7m2h4xe5kcfbh',3,1796005296826,'succeeded','hello',1,'{"fact":"succeeded","output":{"value":{"ok":true,"exit_code":0,"stdout":"hello\n","stderr":"","duration_ms":4,"timed_out":false,"truncated":false}}}');
INSERT INTO fact VALUES('01m8n43ymr3va7m2h4xe5kcfbh',4,1796005296826,'asked','sure',0,'{"fact":"asked","question":"sure?","choices":["yes","no"]}');
INSERT INTO fact VALUES('01m8n43ymr3va7m2h4xe5kcfbh',5,1796005296827,'paused','',0,'{"fact":"paused","pause":"waiting","message":"`sure` asks: sure?"}');
INSERT INTO fact VALUES('01m8n43yqb5cjcdmn0kmvhszjc',1,1796005296876,'run_started','',0,'{"fact":"run_started","pipeline":"killed","plan":"c6e86330c154419ff0b22f067f64004c1d0050d0061e4e16235c28b65805bb37","inputs":{"value":{}},"seed":1859858120201417753}');
INSERT INTO fact VALUES('01m8n43yqb5cjcdmn0kmvhszjc',2,1796005296876,'started','hello',1,'{"fact":"started","key":"b14595e520c54e442846bd3267bb45d4f48e38a32bf26a716345737ddfe6a71d"}');
INSERT INTO fact VALUES('01m8n43yqb5cjcdmn0kmvhszjc',3,1796005296909,'succeeded','hello',1,'{"fact":"succeeded","output":{"value":{"ok":true,"exit_code":0,"stdout":"hello\n","stderr":"","duration_ms":8,"timed_out":false,"truncated":false}}}');
INSERT INTO fact VALUES('01m8n43yqb5cjcdmn0kmvhszjc',4,1796005296909,'started','slow',1,'{"fact":"started","key":"308d5de5b08465b909173b3b776c5e7710e2dec73de571dc07b2206be6818d33"}');
CREATE TABLE blob (digest blob primary key, at integer not null, bytes blob not null) strict;
INSERT INTO blob VALUES(X'6a1afbbef226035b71ed1d2af484501515f31435d1a237132d535255244b6356',1796005296715,X'7b2266696c6573223a7b2266696e69736865642e746f6d6c223a2261746f6c6c203d20315c6e5b73746570732e726f6f6d732e656163685d5c6e6f766572203d205c225b2761272c202762275d5c225c6e5b73746570732e726f6f6d732e73746570732e6e616d655d5c6e736574203d207b2076616c7565203d205c22726f6f6d207b7b206974656d207d7d5c22207d5c6e5b73746570732e74776963652e6c6f6f705d5c6e6d6178203d20325c6e7374617465203d207b206e203d2030207d5c6e5b73746570732e74776963652e6c6f6f702e6e6578745d5c6e6e203d205c2273746174652e6e202b20315c225c6e5b73746570732e74776963652e73746570732e73616d655d5c6e736574203d207b2076616c7565203d2031207d5c6e5b6f7574707574735d5c6e726f6f6d73203d205c2273746570732e726f6f6d732e6f75747075745c225c6e227d2c226d61696e223a2266696e69736865642e746f6d6c222c2273657473223a5b5d7d');
INSERT INTO blob VALUES(X'3d9068b7f631e4f0a0d46a00d1273acb6cbdbcce427b070cd40df22354d6bf4a',1796005296792,X'7b2266696c6573223a7b2277616974696e672e746f6d6c223a2261746f6c6c203d20315c6e5b73746570732e68656c6c6f5d5c6e7368656c6c203d207b2061726776203d205b5c226563686f5c222c205c2268656c6c6f5c225d207d5c6e5b73746570732e737572655d5c6e6e65656473203d205b5c2268656c6c6f5c225d5c6e61736b203d207b207175657374696f6e203d205c22737572653f5c222c2063686f69636573203d205b5c227965735c222c205c226e6f5c225d207d5c6e5b6f7574707574735d5c6e73757265203d205c2273746570732e737572652e6f75747075745c225c6e227d2c226d61696e223a2277616974696e672e746f6d6c222c2273657473223a5b5d7d');
INSERT INTO blob VALUES(X'c6e86330c154419ff0b22f067f64004c1d0050d0061e4e16235c28b65805bb37',1796005296875,X'7b2266696c6573223a7b226b696c6c65642e746f6d6c223a2261746f6c6c203d20315c6e5b73746570732e68656c6c6f5d5c6e7368656c6c203d207b2061726776203d205b5c226563686f5c222c205c2268656c6c6f5c225d207d5c6e5b73746570732e736c6f775d5c6e6e65656473203d205b5c2268656c6c6f5c225d5c6e7368656c6c203d207b2061726776203d205b5c22736c6565705c222c205c2233305c225d207d5c6e227d2c226d61696e223a226b696c6c65642e746f6d6c222c2273657473223a5b5d7d');
CREATE TABLE cache (key blob primary key, at integer not null, value text not null) strict;
CREATE INDEX run_by_age on run (started_at desc, id desc);
COMMIT;
PRAGMA application_id = 1096044364;
PRAGMA user_version = 1;

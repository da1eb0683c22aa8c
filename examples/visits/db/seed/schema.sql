create table visits (place text primary key, people int not null);
insert into visits values ('harbour', 7);

"""What tests share: questions and answers as text, engines without sockets, random clusters."""
